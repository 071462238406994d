"""Predict the purchases of CDNOW's customers, and compute the behaviour of all of them.

    python -m benchmarks.profiles.purchases

The events are in Postgres. The models learn from the purchases before 1997-10-01 and of the 90 days after it,
and are measured on the 90 days after 1998-03-31. The baseline is the recency alone. The behaviour of every
customer is compared with pandas. A set with every 40th customer must be refused.
"""

import argparse
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.table import Table

from benchmarks import own_database
from cluster.organisations.organisations import ensure_organisation
from cluster.profiles.behaviour import BEHAVIOUR, compute_behaviour
from cluster.profiles.profiles import ProfileValue, write_part
from cluster.profiles.propensity.features import read_features
from cluster.profiles.propensity.scores import part_of, score
from cluster.profiles.propensity.training import TrainingData, read_training_data, train
from cluster.profiles.propensity.validation import PropensityReport, validate
from cluster.profiles.selection import Selection, select_customers
from data_jobs.kinds.profiles.profile_part import CUSTOMERS_AT_ONCE
from tests.cluster.profiles.cdnow import FILE, load_purchases, read_purchases
from tests.cluster.profiles.pandas_behaviour import differences

TRAIN_AT, LATER_AT = datetime(1997, 10, 1, tzinfo=UTC), datetime(1998, 4, 1, tzinfo=UTC)
AS_OF, WINDOW = datetime(1998, 7, 1, tzinfo=UTC), timedelta(days=90)
CONSOLE = Console(width=110, highlight=False)


def main() -> int:
    """Measure, print the tables, and return 1 if a value differs from pandas or a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path, default=FILE, help="CDNOW_master.txt (default: %(default)s)")
    options = parser.parse_args()
    with own_database() as (_, pool):
        return _measure(pool, read_purchases(options.file))


def _measure(pool: ConnectionPool, purchases: pd.DataFrame) -> int:
    chosen, thin = (Selection(organisation=name, as_of=AS_OF) for name in ("cdnow", "thin"))
    with pool.connection() as connection:
        for selection in (chosen, thin):
            ensure_organisation(connection, selection.organisation)
    load_purchases(pool, "cdnow", purchases)
    load_purchases(pool, "thin", purchases[purchases.customer.astype(int) % 40 == 0])
    seconds: dict[str, float] = {}
    begin = time.perf_counter()
    with pool.connection() as connection:
        periods = [read_features(connection, chosen, at, window=WINDOW) for at in (TRAIN_AT, LATER_AT)]
    seconds["read the features of both periods"] = time.perf_counter() - begin
    begin = time.perf_counter()
    report = validate(*periods, window_days=90)
    seconds["fit three models and measure them"] = time.perf_counter() - begin
    _show(report)
    with pool.connection() as connection:
        refused = train(read_training_data(connection, thin, window=WINDOW))
        data = read_training_data(connection, chosen, window=WINDOW)
    CONSOLE.print(f"every 40th customer: {refused.state}, missing {refused.report.get('missing')}")
    wrong = _enrich(pool, chosen, data, purchases, seconds)
    table = Table("step", "s", title=f"{len(data.later.customers):,} customers")
    for name, passed in seconds.items():
        table.add_row(name, f"{passed:.1f}")
    CONSOLE.print(table)
    CONSOLE.print(f"{wrong} customers differ from pandas")
    best = report.models[report.chosen]
    met = best.auc >= 0.835 and best.brier < 0.092 and refused.state == "insufficient_data" and not wrong
    return 0 if met else 1


def _enrich(
    pool: ConnectionPool,
    chosen: Selection,
    data: TrainingData,
    purchases: pd.DataFrame,
    seconds: dict[str, float],
) -> int:
    """Compute and write all profiles. Return the number of customers whose behaviour differs from pandas."""
    training, after = train(data), ""
    found: dict[str, dict[str, ProfileValue]] = {}
    spent = {"compute the behaviour": 0.0, "compute the scores": 0.0, "write both parts": 0.0}
    while True:
        with pool.connection() as connection:
            customers = select_customers(connection, chosen, after=after, limit=CUSTOMERS_AT_ONCE)
            if not customers:
                break
            times = [time.perf_counter()]
            behaviour = compute_behaviour(connection, chosen, customers)
            times.append(time.perf_counter())
            scores = score(connection, chosen, training, customers)
            times.append(time.perf_counter())
            write_part(connection, chosen, BEHAVIOUR, behaviour)
            write_part(connection, chosen, part_of(training), scores)
            times.append(time.perf_counter())
        for name, begin, end in zip(spent, times[:-1], times[1:], strict=True):
            spent[name] += end - begin
        found.update(behaviour)
        after = customers[-1]
    seconds.update(spent)
    return len(differences(found, purchases, chosen))


def _show(report: PropensityReport) -> None:
    table = Table("model", "AUC", "Brier", "log loss", title=f"chosen: {report.chosen}")
    for name, one in report.models.items():
        table.add_row(name, f"{one.auc:.4f}", f"{one.brier:.4f}", f"{one.log_loss:.4f}")
    CONSOLE.print(table)
    table = Table("customers", "predicted", "observed", title="calibration")
    for row in report.calibration:
        table.add_row(f"{row.n:,}", f"{row.predicted:.3f}", f"{row.observed:.3f}")
    CONSOLE.print(table)
    CONSOLE.print(f"drivers: {dict(report.drivers)}")


if __name__ == "__main__":
    raise SystemExit(main())
