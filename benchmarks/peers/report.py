"""Print the tables of ``benchmarks.endpoint``.

Times are medians; ratios are taken within a round, then their median.

report.show(rounds, baseline="infinity 0.0.78")
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

Rounds = Sequence[dict[str, dict[str, Any]]]
TITLES = {
    "sentences": "16 clients, one sentence a request",
    "passages": "4 clients, 64 texts of mixed lengths a request",
    "question": "One client, one question a request",
    "mixed": "One question a second while 4 clients send passages without pause",
    "flood": "One organisation's question a second while 32 clients of another send sentences without pause",
}


def show(rounds: Rounds, *, baseline: str) -> None:
    """Print the tables."""
    for workload in ("sentences", "passages"):
        _print(_throughput(rounds, workload, baseline))
    _print(_question(rounds))
    for workload in ("mixed", "flood"):
        _print(_beside_load(rounds, workload))
    shares = {workload: _client(rounds, workload) for workload in ("sentences", "passages", "question")}
    print(
        "the client's share of a core, at most:",
        ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share),
    )


def _throughput(rounds: Rounds, workload: str, baseline: str) -> Table:
    keys = {
        "texts_per_s": ("texts/s", 1, 0),
        "p50_s": ("p50 ms", 1e3, 0),
        "p95_s": ("p95 ms", 1e3, 0),
        "processor_s": ("CPU ms a text", 1e3, 1),
    }
    columns = [column for title, _, _ in keys.values() for column in (title, "of infinity's")]
    table = _table(TITLES[workload], [*columns, "of the engine alone"])
    for name in _names(rounds, workload):
        cells = []
        for key, (_, scale, digits) in keys.items():
            cells.append(f"{_median(rounds, name, workload, key) * scale:,.{digits}f}")
            cells.append(_ratio(rounds, workload, key, name, baseline))
        table.add_row(name, *cells, _ratio(rounds, workload, "processor_s", name, _engine(name)))
    return table


def _question(rounds: Rounds) -> Table:
    table = _table(TITLES["question"], ("p50 ms", "above the engine alone, ms", "p95 ms"))
    for name in _names(rounds, "question"):
        above = _compared_by_round(
            rounds, "question", "p50_s", name, _engine(name), lambda one, other: one - other
        )
        p50, p95 = (_median(rounds, name, "question", key) * 1e3 for key in ("p50_s", "p95_s"))
        table.add_row(name, f"{p50:.1f}", f"{above * 1e3:+.1f}" if above is not None else "", f"{p95:.1f}")
    return table


def _beside_load(rounds: Rounds, workload: str) -> Table:
    load = "passages/s of alone" if workload == "mixed" else "sentences/s of the flood"
    table = _table(TITLES[workload], ("idle p50 ms", "idle p95 ms", "p50 ms", "p95 ms", "p95 of idle", load))
    for name in _names(rounds, workload):
        idle, busy = (
            [one for seen in rounds for one in seen[name][workload][condition]]
            for condition in ("idle", "busy")
        )
        times = [float(np.quantile(condition, q)) * 1e3 for condition in (idle, busy) for q in (0.5, 0.95)]
        table.add_row(
            name, *(f"{ms:,.1f}" for ms in times), f"{times[3] / times[1]:.2f}", _load(rounds, workload, name)
        )
    return table


def _load(rounds: Rounds, workload: str, name: str) -> str:
    if workload == "flood":
        return f"{_median(rounds, name, workload, 'texts_per_s'):,.0f}"
    if not all("passages" in seen[name] for seen in rounds):
        return ""
    ratios = [seen[name]["mixed"]["texts_per_s"] / seen[name]["passages"]["texts_per_s"] for seen in rounds]
    return f"{statistics.median(ratios):.2f}"


def _engine(name: str) -> str:
    """The row of the engine alone in the precision of the party."""
    return f"engine alone, {'bfloat16' if 'bfloat16' in name else 'float32'}"


def _names(rounds: Rounds, workload: str) -> list[str]:
    return [name for name, seen in rounds[0].items() if workload in seen]


def _median(rounds: Rounds, name: str, workload: str, key: str) -> float:
    return statistics.median(seen[name][workload][key] for seen in rounds)


def _ratio(rounds: Rounds, workload: str, key: str, name: str, other: str) -> str:
    ratio = _compared_by_round(rounds, workload, key, name, other, lambda one, two: one / two)
    return "" if ratio is None else f"{ratio:.2f}"


def _compared_by_round(
    rounds: Rounds, workload: str, key: str, name: str, other: str, compare: Callable[[float, float], float]
) -> float | None:
    """Median over the rounds of ``compare`` within a round; None if ``other`` was not measured."""
    if other not in rounds[0]:
        return None
    return statistics.median(
        compare(seen[name][workload][key], seen[other][workload][key]) for seen in rounds
    )


def _client(rounds: Rounds, workload: str) -> float:
    return max(
        (seen[name][workload].get("client", 0) for seen in rounds for name in _names(rounds, workload)),
        default=0,
    )


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=box.MARKDOWN, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _print(table: Table) -> None:
    if table.row_count:
        Console(width=180).print(table)
