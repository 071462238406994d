"""Render web pages in a headless Chromium that has no network of its own.

``browser.Browser`` starts a process for each page. This process, ``render_process``, starts Chromium with
Playwright and sends each request of the page through the guarded transport (``page_requests``). Playwright is
the optional extra ``browser``.
"""
