"""Build the HTTP application from the routers of all routes. A Serve replica or any ASGI server can run the
application.

uvicorn.run(build_api(Service(settings)))
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from serve_app.console import console_files
from serve_app.edge.boundary import Boundary
from serve_app.edge.error_responses import describe_errors
from serve_app.edge.errors import install_error_handlers
from serve_app.fleet.fleet_state import ReadFleet
from serve_app.routes import (
    batches,
    embeddings,
    file_batches,
    file_content,
    files,
    health,
    models,
    rerank,
    search,
    tokenize,
    uploads,
    usage_reports,
    vector_store_files,
    vector_stores,
    vectors,
)
from serve_app.routes.agents import agents
from serve_app.routes.agents import bulk as agents_in_bulk
from serve_app.routes.analytics import stats
from serve_app.routes.answers import chat_completions
from serve_app.routes.compatible import cohere, crawler, tasks, tei
from serve_app.routes.containers import file_entries
from serve_app.routes.crawls import crawls
from serve_app.routes.jobs import job_changes, jobs, submission
from serve_app.routes.jobs.job_changes import ChangeFeed
from serve_app.routes.jobs.job_events import EventFeed
from serve_app.routes.mcp import endpoint as mcp_endpoint
from serve_app.routes.organisations import audit_logs, budgets, keys, organisations
from serve_app.routes.overview import doctor, overview
from serve_app.routes.overview.doctor import Examinations
from serve_app.routes.overview.overview_feed import OverviewFeed
from serve_app.routes.platform_data import conversations, customers, feedback
from serve_app.routes.platform_data import events as platform_events
from serve_app.routes.profiles import customer_profiles, segments
from serve_app.routes.responses import responses
from serve_app.routes.schedules import schedules
from serve_app.routes.stores import embedding_map, page_picture, page_text
from serve_app.routes.usage import organization, usage
from serve_app.routes.webhooks import deliveries as webhook_deliveries
from serve_app.routes.webhooks import endpoints as webhook_endpoints
from serve_app.service import Service

#: The modules with the routes. The first route that matches a path is used. The search router comes before
#: the other routers of stores, because otherwise a search of a store named "a/files" would go to the route
#: of the file "search". No file has this id. The routers of submissions and of changes come before the
#: router of jobs, because "/v1/jobs/kinds" and "/v1/jobs/events" would otherwise name a job.
PARTS: tuple[Any, ...] = (
    embeddings,
    chat_completions,
    models,
    tokenize,
    rerank,
    files,
    uploads,
    batches,
    search,
    mcp_endpoint,
    vector_stores,
    vector_store_files,
    vectors,
    file_content,
    page_text,
    page_picture,
    embedding_map,
    file_entries,
    file_batches,
    crawls,
    submission,
    job_changes,
    jobs,
    webhook_endpoints,
    webhook_deliveries,
    schedules,
    platform_events,
    customers,
    agents_in_bulk,
    customer_profiles,
    segments,
    agents,
    conversations,
    feedback,
    responses,
    stats,
    tasks,
    crawler,
    tei,
    cohere,
    keys,
    audit_logs,
    budgets,
    usage,
    organization,
    organisations,
    usage_reports,
    overview,
    doctor,
    console_files,
    health,
)


def build_api(
    service: Service, *, stopping: Callable[[], bool] = lambda: False, read_fleet: ReadFleet = lambda: None
) -> FastAPI:
    """Build the application that uses this service.

    Args:
        stopping: returns True if the process only has to finish open requests; ``/readyz`` then answers 503.
        read_fleet: returns the state of the fleet, for ``/v1/overview``; None if the state is not known.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.chat.close()  # here, because this event loop has opened the connections

    app = FastAPI(
        lifespan=lifespan,
        title="embedding-cluster",
        summary="Embeddings and search in OpenAI's shapes",
        docs_url="/docs",
        redoc_url=None,
    )
    app.state.service = service
    app.state.stopping = stopping
    app.state.events = EventFeed(service)
    app.state.job_changes = ChangeFeed(service)
    app.state.examinations = Examinations(service.settings)
    app.state.overviews = OverviewFeed(service, read_fleet)
    for part in PARTS:
        app.include_router(part.router)
    install_error_handlers(app)
    describe_errors(app)
    app.add_middleware(
        Boundary,
        settings=service.settings,
        keys=service.keys,
        tokens=service.tokens,
        usage=service.usage,
        admission=service.admission,
        rate_headers=service.rates.headers,
        requests=service.requests,
    )
    return app
