-- How far a job of the kind bulk_insert_vectors has come. Each transaction that writes rows also writes this.
CREATE TABLE bulk_inserts (
    organisation  text NOT NULL,
    job           text NOT NULL,
    position      bigint NOT NULL,                             -- number of the last row that is done, from 1
    counts        jsonb NOT NULL,                              -- rows, written, unchanged, failed by kind
    PRIMARY KEY (organisation, job),
    FOREIGN KEY (organisation, job) REFERENCES jobs (organisation, id) ON DELETE CASCADE
);

-- The rows that such a job could not insert, some rows in each part. The job's end makes a file of them.
CREATE TABLE bulk_insert_faults (
    organisation  text NOT NULL,
    job           text NOT NULL,
    position      bigint NOT NULL,                             -- number of the part's last row
    lines         bytea NOT NULL,                              -- JSON lines, compressed by zlib
    PRIMARY KEY (organisation, job, position),
    FOREIGN KEY (organisation, job) REFERENCES jobs (organisation, id) ON DELETE CASCADE
);
