"""Start a simulator of OpenAI's API for embeddings, for people without an account.

Its vectors are pseudo-random: only equal texts have vectors that are near each other. It was written after
OpenAI's published description, and was never compared with the live service.
"""

import argparse

from tests.simulators.openai.batches import BatchService
from tests.simulators.openai.faults import Fault, Faults
from tests.simulators.openai.provider import Limits, Provider
from tests.simulators.openai.server import Server


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators.openai", description=__doc__)
    parser.add_argument("--port", type=int, default=8089, help="TCP port on 127.0.0.1 (8089)")
    parser.add_argument("--requests-per-minute", type=int, default=3_000, metavar="N")
    parser.add_argument("--tokens-per-minute", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--latency", type=float, default=0.1, metavar="S", help="seconds of a request (0.1)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help=f"part of the requests that fail, such as busy=0.2; the names are {', '.join(Fault)}",
    )
    given = parser.parse_args()
    chances = {Fault(name): float(share) for name, share in (one.split("=") for one in given.fault)}
    limits = Limits(requests=given.requests_per_minute, tokens=given.tokens_per_minute)
    provider = Provider(limits=limits)
    server = Server(
        provider,
        Faults(chances=chances),
        port=given.port,
        latency_s=given.latency,
        batch_api=BatchService(provider),
    )
    print(f"A simulator of OpenAI's embeddings answers at {server.url}. Any key is accepted.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
