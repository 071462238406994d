"""Spend an organisation's budget in a process of its own, seven tokens at a time, until it is refused.

python -m tests.cluster.budgets.spend HOME ORGANISATION         # or with --hold: reserve once, and wait
"""

import sys
import time
from pathlib import Path

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.errors import BudgetExceeded
from cluster.settings import Settings
from tests.cluster.budgets.spender import Spender

#: Leases of reservations. The process that holds one is killed, and another one may be slow to use its own.
HELD_S, LEASE_S = 1.5, 60.0


def main() -> None:
    """Reserve and use, or reserve and wait to be killed."""
    home, organisation, *hold = sys.argv[1:]
    with open_pool(Settings(home=Path(home), log_level="ERROR"), access=OWNER) as pool:
        spender = Spender(pool, organisation)
        if hold:
            spender.use(7, spender.reserve(7, lease_s=LEASE_S))
            spender.reserve(7, lease_s=HELD_S)
            print("holding", flush=True)
            time.sleep(60)
        while True:
            try:
                spender.use(7, spender.reserve(7, lease_s=LEASE_S))
            except BudgetExceeded:
                return


if __name__ == "__main__":
    main()
