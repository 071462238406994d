"""Our endpoint in uvicorn, without Ray: ``serve_app.api.build_api`` with the settings of the environment.

python -m benchmarks.peers.our_endpoint --port 9000
"""

import argparse
from typing import Annotated

import uvicorn
from fastapi import Header

from cluster.logs import configure
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from serve_app.api import build_api
from serve_app.edge.authentication import organisation_of_request
from serve_app.edge.service_access import ServiceDep
from serve_app.service import Service

#: Organisations that requests of this process have named.
created: set[str] = set()


async def organisation_of_the_header(
    service: ServiceDep, x_organisation: Annotated[str, Header()] = "default"
) -> str:
    """The organisation that the header names, created by its first request. Takes the place of API keys."""
    if x_organisation not in created:
        await service.in_transaction(lambda connection: ensure_organisation(connection, x_organisation))
        created.add(x_organisation)
    return x_organisation


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--organisations",
        action="store_true",
        help="accept the header x-organisation, which costs FastAPI some time",
    )
    arguments = parser.parse_args()
    settings = Settings()
    configure(settings)
    app = build_api(Service(settings))
    if arguments.organisations:
        app.dependency_overrides[organisation_of_request] = organisation_of_the_header
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, loop="uvloop", http="httptools", access_log=False)


if __name__ == "__main__":
    main()
