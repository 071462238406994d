"""A replica that keeps a rate under load. Tests start several against one Postgres.

    python -m tests.cluster.rate_limits.admitting URL RATE LIMIT WINDOW_S SECONDS PER_SECOND

It prints one JSON list: for each admitted request, the times (``time.time``) before and after its admission,
and its amount.
"""

import asyncio
import json
import random
import sys
import time

import psycopg

from cluster.rate_limits.leased_rates import LeasedRates, RateExceeded

#: Each request needs up to this part of the limit.
LARGEST = 100


async def main(url: str, name: str, limit: int, window_s: float, seconds: float, per_second: float) -> None:
    """Send requests that together need ``per_second`` until the time is over."""
    rates = LeasedRates(lambda: psycopg.connect(url, autocommit=True), window_s=window_s)
    rate, admitted, ends = rates.rate(name, limit), [], time.time() + seconds
    requests: set[asyncio.Task[None]] = set()

    async def send(amount: int) -> None:
        asked = time.time()
        try:
            await rates.take([(rate, amount)])
        except RateExceeded:
            return
        admitted.append((asked, time.time(), amount))

    due = time.time()
    while time.time() < ends:
        amount = random.randint(1, max(1, 2 * limit // LARGEST))
        requests.add(task := asyncio.create_task(send(amount)))
        task.add_done_callback(requests.discard)
        due += amount / per_second
        await asyncio.sleep(max(0.0, due - time.time()))
    await asyncio.gather(*requests)
    rates.close()
    print(json.dumps(admitted))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:])))
