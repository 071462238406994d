"""Ask a running endpoint for more tokens than a key may use, and print the tokens that it admitted.

    CLUSTER_MIN_REPLICAS=3 CLUSTER_MAX_REPLICAS=3 make up
    python -m cluster.keys create rate --tokens-per-minute 100000
    python -m benchmarks.token_rate --key ec-...

Clients send requests without a pause, and repeat a refused request after a fifth of a second. The table has
the tokens of each minute after the first answer, and the smallest and largest sum of any 60 seconds.
"""

import argparse
import random
import threading
import time
from collections import Counter
from itertools import accumulate

import httpx
from rich.console import Console
from rich.table import Table

MINUTE_S, PAUSE_S = 60.0, 0.2
WORDS = "operator plant pump weir heron valve boiler canteen harbour copper pressure winter ledge".split()


class Load:
    """Sends requests in threads, and keeps when each one was sent and how many tokens it had."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._headers = {"Authorization": f"Bearer {options.key}"}
        self._over = threading.Event()
        self.admitted: list[tuple[float, int]] = []
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        """Send requests for the whole time."""
        threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(self._options.clients)]
        for thread in threads:
            thread.start()
        time.sleep(self._options.minutes * MINUTE_S + 5)
        self._over.set()
        for thread in threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=self._options.url, headers=self._headers, timeout=60) as client:
            while not self._over.is_set():
                text = " ".join(chance.choices(WORDS, k=chance.randint(20, self._options.words)))
                body = {"model": self._options.model, "input": f"{chance.random()} {text}"}
                sent = time.monotonic()
                answer = client.post("/v1/embeddings", json=body)
                self.statuses[answer.status_code] += 1
                if answer.status_code == httpx.codes.OK:
                    self.admitted.append((sent, answer.json()["usage"]["total_tokens"]))
                else:
                    self._over.wait(PAUSE_S)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--url", default="http://127.0.0.1:8000", help="the endpoint (default: %(default)s)")
    add("--key", required=True, help="a key with a limit of tokens a minute")
    add("--model", default="all-MiniLM-L6-v2", help="default: %(default)s")
    add("--minutes", type=int, default=3, help="default: %(default)s")
    add("--clients", type=int, default=24, help="requests at the same time (default: %(default)s)")
    add("--words", type=int, default=200, help="maximum number of words of a text (default: %(default)s)")
    options = parser.parse_args()
    load = Load(options)
    load.run()
    admitted = sorted(load.admitted)
    begin = admitted[0][0]
    table = Table("minute", "tokens", title=f"{options.clients} clients: {dict(load.statuses)}")
    for minute in range(options.minutes):
        inside = [tokens for sent, tokens in admitted if minute <= (sent - begin) / MINUTE_S < minute + 1]
        table.add_row(str(minute + 1), f"{sum(inside):,}")
    sums = _any_minute(admitted, begin + options.minutes * MINUTE_S)
    table.add_row("any, least", f"{min(sums):,}")
    table.add_row("any, most", f"{max(sums):,}")
    Console().print(table)
    return 0


def _any_minute(admitted: list[tuple[float, int]], end: float) -> list[int]:
    """Return the tokens of the 60 seconds that begin with each request and are over before ``end``."""
    totals = [0, *accumulate(tokens for _, tokens in admitted)]
    sums, last = [], 0
    for first, (sent, _) in enumerate(admitted):
        if sent + MINUTE_S > end:
            break
        while last < len(admitted) and admitted[last][0] < sent + MINUTE_S:
            last += 1
        sums.append(totals[last] - totals[first])
    return sums


if __name__ == "__main__":
    raise SystemExit(main())
