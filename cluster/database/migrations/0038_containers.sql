-- Containers: archives and e-mails, whose entries are files of their own (cluster/documents/containers).

CREATE TABLE containers (
    organisation    text NOT NULL,
    file            text NOT NULL,
    version         text NOT NULL,                -- of the code and the limits that found the entries
    unpacked_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, file),
    FOREIGN KEY (organisation, file) REFERENCES files (organisation, id) ON DELETE CASCADE
);

-- A file that was made from an entry. Containers with the same name share an entry with the same path and bytes.
CREATE TABLE entry_files (
    organisation    text NOT NULL,
    file            text NOT NULL,
    key             text NOT NULL,                -- digest of the container's name, the path and the bytes
    container_name  text NOT NULL,
    path            text NOT NULL,                -- in the container
    PRIMARY KEY (organisation, file),
    UNIQUE (organisation, key),
    FOREIGN KEY (organisation, file) REFERENCES files (organisation, id) ON DELETE CASCADE
);

CREATE TABLE container_entries (
    organisation    text NOT NULL,
    container       text NOT NULL,                -- id of the container's file
    number          integer NOT NULL,             -- place in the container, from 0
    path            text NOT NULL,
    file            text,                         -- null: the entry could not be read
    outcome         text NOT NULL,
    detail          text NOT NULL DEFAULT '',     -- why the entry could not be read
    PRIMARY KEY (organisation, container, number),
    FOREIGN KEY (organisation, container) REFERENCES files (organisation, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation, file) REFERENCES entry_files (organisation, file) ON DELETE CASCADE
);
CREATE INDEX container_entries_file ON container_entries (organisation, file) WHERE file IS NOT NULL;
