"""Start a simulator of one Pinecone index on this machine, for people without an account.

It keeps its vectors in memory. It was written after Pinecone's published description, and was never compared
with the live service.
"""

import argparse

from tests.simulators.pinecone.faults import IndexFault, IndexFaults
from tests.simulators.pinecone.server import PineconeServer
from tests.simulators.pinecone.service import PineconeService
from tests.simulators.pinecone.traffic import RateCaps


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators.pinecone", description=__doc__)
    parser.add_argument("--port", type=int, default=5081, help="TCP port on 127.0.0.1 (default: 5081)")
    parser.add_argument("--dim", type=int, default=384, help="dimension of the index (default: 384)")
    parser.add_argument("--metric", choices=["cosine", "dotproduct", "euclidean"], default="cosine")
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="S", help="seconds until writes are visible"
    )
    parser.add_argument(
        "--requests-per-second",
        type=int,
        default=100,
        metavar="N",
        help="limit of one operation (default: 100)",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help=f"a share of the requests fails, such as busy=0.2; names: {', '.join(IndexFault)}",
    )
    given = parser.parse_args()
    try:
        chances = {IndexFault(name): float(share) for name, share in (one.split("=") for one in given.fault)}
    except ValueError as exc:
        parser.error(f"--fault: {exc}; write NAME=SHARE, such as busy=0.2")
    service = PineconeService(dim=given.dim, metric=given.metric)
    service.storage.delay_s = given.delay
    server = PineconeServer(
        service,
        faults=IndexFaults(chances=chances),
        caps=RateCaps(requests=given.requests_per_second),
        port=given.port,
    )
    print(f"A simulator of a Pinecone index answers at {server.url}. It accepts any key.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
