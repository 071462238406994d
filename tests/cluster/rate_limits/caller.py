"""A process that calls a provider within a budget. Tests start several, and kill some.

    python -m tests.cluster.rate_limits.caller URL BUDGET WINDOW_S SECONDS SEED

It prints one JSON list: for each call, when the provider counted it (``time.monotonic``, the same for all
processes of a machine), its tokens, its organisation, and the seconds from its grant to the settlement.
"""

import json
import random
import sys
import threading
import time

from psycopg_pool import ConnectionPool

from cluster.errors import Throttled
from cluster.rate_limits import SharedBudget

LIMITS = {"requests": 60, "tokens": 6_000}
#: Numbers of tokens of a call. They are so large that the limit of tokens delays calls, too.
TOKENS = (10, 200)
THREADS = 4


def main(url: str, name: str, window_s: float, seconds: float, seed: int) -> None:
    """Call until the time is over, from several threads of two organisations."""
    calls: list[tuple[float, int, str, float]] = []
    with ConnectionPool(url, min_size=1, max_size=THREADS) as pool:
        budget = SharedBudget(pool, name, {resource: (most, window_s) for resource, most in LIMITS.items()})
        ends = time.monotonic() + seconds

        def call(number: int) -> None:
            luck = random.Random(seed * THREADS + number)
            organisation = "flooding" if number else "other"
            while (left_s := ends - time.monotonic()) > 0:
                tokens = luck.randint(*TOKENS)
                try:
                    grant = budget.acquire(
                        {"requests": 1, "tokens": tokens},
                        organisation=organisation,
                        urgent=luck.random() < 0.2,
                        timeout_s=left_s,
                    )
                except Throttled:
                    return
                granted = time.monotonic()
                time.sleep(luck.uniform(0, 0.02))
                at = time.monotonic()
                time.sleep(luck.uniform(0, 0.02))
                grant.settle()
                calls.append((at, tokens, organisation, time.monotonic() - granted))

        threads = [threading.Thread(target=call, args=[number]) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(calls))


if __name__ == "__main__":
    url, name, *numbers = sys.argv[1:]
    main(url, name, float(numbers[0]), float(numbers[1]), int(numbers[2]))
