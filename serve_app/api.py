"""The HTTP application: every URL family's router behind one boundary. Runs in the Serve replica, and in any ASGI server.

uvicorn.run(build_api(Service(settings)))
"""

from collections.abc import Callable

from fastapi import FastAPI

from serve_app.edge.boundary import Boundary
from serve_app.edge.error_responses import hide_status_422
from serve_app.edge.errors import install_error_handlers
from serve_app.routes import (
    cohere,
    embeddings,
    file_batches,
    file_content,
    files,
    health,
    jobs,
    models,
    rerank,
    search,
    tasks,
    tei,
    tokenize,
    uploads,
    vector_store_files,
    vector_stores,
)
from serve_app.routes.job_events import EventFeed
from serve_app.service import Service


def build_api(service: Service, *, stopping: Callable[[], bool] = lambda: False) -> FastAPI:
    """The application on this service.

    Args:
        stopping: asked by ``/readyz``; True once the process finishes what it has and wants nothing more.
    """
    app = FastAPI(
        title="embedding-cluster",
        summary="Embeddings and search in OpenAI's shapes",
        docs_url="/docs",
        redoc_url=None,
    )
    app.state.service = service
    app.state.stopping = stopping
    app.state.events = EventFeed(service)
    # Search goes first: in its path a store's name may hold slashes, and no file has the id "search".
    stores = (search, vector_stores, vector_store_files, file_content, file_batches)
    for part in (
        embeddings,
        models,
        tokenize,
        rerank,
        files,
        uploads,
        *stores,
        jobs,
        tasks,
        tei,
        cohere,
        health,
    ):
        app.include_router(part.router)
    install_error_handlers(app)
    hide_status_422(app)
    app.add_middleware(Boundary, settings=service.settings)
    return app
