"""Finds the names of the counters, gauges and histograms that our code exports, in the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

from cluster.alerts.event_metrics import EVENTS
from serve_app.embedding.batching.stats import COUNTERS
from serve_app.embedding.metrics import CLUSTER_GAUGES
from tests.conftest import ROOT

#: What Prometheus appends to the name of a metric of each class.
SUFFIXES = {"Counter": "_total", "Gauge": "", "_Series": "", "Histogram": "_bucket"}
#: Names that a loop over a table makes, by the expression that makes them.
TABLES = {
    "f'embedding_{name}'": {"Counter": COUNTERS, "Gauge": CLUSTER_GAUGES},
    "f'embedding_{event.name}'": {"make_counter": [event.name for event in EVENTS]},
}


def exported_metrics() -> set[str]:
    """The names of all metrics of ours, as Prometheus reads them."""
    files = [*(ROOT / "serve_app").rglob("*.py"), *(ROOT / "data_jobs").rglob("*.py")]
    return {name for file in [*files, ROOT / "cluster/alerts/event_metrics.py"] for name in _names(file)}


def _names(file: Path) -> Iterator[str]:
    text = file.read_text()
    if "ray.serve.metrics" not in text and "make_counter" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
            continue
        made_by, first = node.func.id, node.args[0]
        if made_by not in {*SUFFIXES, "make_counter"}:
            continue
        suffix = SUFFIXES.get(made_by, "_total")
        if isinstance(first, ast.Constant):
            yield f"ray_{first.value}{suffix}"
        elif not isinstance(first, ast.Name):  # a class of metrics passes its own argument on
            yield from (f"ray_embedding_{name}{suffix}" for name in TABLES[ast.unparse(first)][made_by])
