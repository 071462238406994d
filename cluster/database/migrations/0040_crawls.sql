-- Crawls of websites, their pages, what vector stores hold of websites, and the requests to each host (cluster/crawls).

CREATE TABLE crawls (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id            text NOT NULL,                               -- crawl_...
    job           text NOT NULL,                               -- the job that runs it; the crawl is deleted with the job
    url           text NOT NULL,                               -- where the crawl starts
    vector_store  text,                                        -- the pages become files of this store; null: only URLs are discovered
    options       jsonb NOT NULL,                              -- CrawlOptions without the URL
    state         jsonb NOT NULL DEFAULT '{}',                 -- which steps are done, and links that were not followed, by reason
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, id),
    FOREIGN KEY (organisation, job) REFERENCES jobs (organisation, id) ON DELETE CASCADE
);
CREATE INDEX crawls_recent ON crawls (organisation, created_at, id);
CREATE INDEX crawls_job ON crawls (organisation, job);

-- Every URL that a crawl has found. The rows without an outcome are the frontier.
CREATE TABLE crawl_pages (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    crawl         text NOT NULL,
    id            text NOT NULL,                               -- page_..., made from the URL
    url           text NOT NULL,                               -- canonical
    depth         integer NOT NULL,                            -- links between the start and this page; 0: the start, and URLs of sitemaps
    hops          integer NOT NULL DEFAULT 0,                  -- redirects that led to this URL
    found_on      text,                                        -- URL of the page or sitemap that names this URL; null: the start
    found_at      timestamptz NOT NULL DEFAULT now(),
    attempts      integer NOT NULL DEFAULT 0,
    not_before    timestamptz,                                 -- the next attempt waits until then
    outcome       text,                                        -- PageOutcome; null: not yet
    detail        text,                                        -- a sentence: why the page was skipped, or where it leads
    status        integer,                                     -- of HTTP; null: no answer
    media_type    text,
    bytes         bigint,
    sha256        text,                                        -- of the body
    title         text,
    file          text,                                        -- the file with the page's content
    fetched_at    timestamptz,
    PRIMARY KEY (organisation, crawl, id),
    FOREIGN KEY (organisation, crawl) REFERENCES crawls (organisation, id) ON DELETE CASCADE
);
CREATE INDEX crawl_pages_found ON crawl_pages (organisation, crawl, found_at, id);
CREATE INDEX crawl_pages_waiting ON crawl_pages (organisation, crawl, depth, found_at, id) WHERE outcome IS NULL;
CREATE INDEX crawl_pages_content ON crawl_pages (organisation, crawl, sha256) WHERE sha256 IS NOT NULL;

-- The robots.txt of each origin, read once in a crawl.
CREATE TABLE crawl_origins (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    crawl         text NOT NULL,
    origin        text NOT NULL,                               -- such as https://example.com
    rules         text NOT NULL,                               -- of robots.txt; '' permits everything
    fetched_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, crawl, origin),
    FOREIGN KEY (organisation, crawl) REFERENCES crawls (organisation, id) ON DELETE CASCADE
);

-- What a vector store holds of websites, over all crawls into it.
CREATE TABLE site_pages (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    vector_store  text NOT NULL,
    id            text NOT NULL,                               -- page_..., made from the URL
    url           text NOT NULL,
    file          text NOT NULL,                               -- made for this page and this store, and deleted with the page
    sha256        text NOT NULL,                               -- of the body at the last change
    etag          text,
    last_modified text,
    title         text,
    misses        integer NOT NULL DEFAULT 0,                  -- crawls in a row that did not find the page
    crawl         text NOT NULL,                               -- the last crawl that asked for the page
    checked_at    timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, vector_store, id),
    FOREIGN KEY (organisation, vector_store) REFERENCES vector_stores (organisation, id) ON DELETE CASCADE,
    FOREIGN KEY (organisation, file) REFERENCES files (organisation, id) ON DELETE CASCADE
);
CREATE INDEX site_pages_file ON site_pages (organisation, file);

-- Blocks of text that many pages of a host repeat, such as menus. Searches of a store do not find them.
CREATE TABLE site_blocks (
    organisation  text NOT NULL REFERENCES organisations ON DELETE CASCADE,
    vector_store  text NOT NULL,
    host          text NOT NULL,
    digest        text NOT NULL,                               -- of the block's words
    PRIMARY KEY (organisation, vector_store, host, digest),
    FOREIGN KEY (organisation, vector_store) REFERENCES vector_stores (organisation, id) ON DELETE CASCADE
);

-- When the next request to a host may begin. A host gets the requests of all organisations, so the limits hold for the whole cluster.
CREATE TABLE crawl_hosts (
    host        text COLLATE "C" PRIMARY KEY,
    next_at     timestamptz NOT NULL
);

-- Requests to hosts that are under way. A row whose process died expires.
CREATE TABLE crawl_requests (
    host        text COLLATE "C" NOT NULL,
    id          uuid NOT NULL,
    until       timestamptz NOT NULL,
    PRIMARY KEY (host, id)
);
