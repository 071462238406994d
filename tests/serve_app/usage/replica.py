"""An endpoint in its own process, which a test can kill. Its model needs no weights.

python -m tests.serve_app.usage.replica    # prints its port
"""

import asyncio
import socket

import uvicorn

from cluster.deploy.http_server import WithoutUpgrade
from cluster.logs import configure
from cluster.settings import Settings
from serve_app.api import build_api
from serve_app.service import Service
from tests.hashing_engine import hashing_kind


async def main() -> None:
    """Serve until the process is killed."""
    with hashing_kind(), socket.socket() as listener:
        settings = Settings()
        configure(settings)  # the log must not fill the pipe
        app = build_api(Service(settings))
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        print(listener.getsockname()[1], flush=True)
        await uvicorn.Server(uvicorn.Config(app, http=WithoutUpgrade, log_config=None)).serve([listener])


if __name__ == "__main__":
    asyncio.run(main())
