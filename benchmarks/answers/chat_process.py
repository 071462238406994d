"""Run the simulated chat server in a process of its own. ``benchmarks.answers`` starts it.

python -m benchmarks.answers.chat_process --port 8090
"""

import argparse

from tests.simulators.chat_server import ChatServerSimulator


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers.chat_process", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    parser.add_argument("--first-token", type=float, default=0.0, metavar="S", help="time of the first token")
    given = parser.parse_args()
    server = ChatServerSimulator(port=given.port)
    server.first_token_s = given.first_token
    server.reply = lambda _: "The handbook says so [1]."
    server.serve_forever()


if __name__ == "__main__":
    main()
