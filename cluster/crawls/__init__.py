"""Crawls read websites into vector stores. A crawl can be repeated, and limits its requests to each host.

The routes of crawls and ``python -m data_jobs.crawl`` use the module ``crawls``. The jobs ``crawl`` and
``discover`` in ``data_jobs/kinds/crawls`` send the requests. ``docs/decisions/063-crawls.md`` explains the
decisions.

    crawl = create_crawl(connection, "acme", CrawlInput(url=url, vector_store_id=store.id), max_pages=100_000)
    get_crawl(connection, "acme", crawl.id).outcomes          # {"new": 40, "robots": 2}
"""
