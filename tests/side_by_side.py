"""Divides the tests between the processes of ``make test`` and of ``make faults`` (pytest-xdist).

Plugin of ``tests.conftest``.

Three processes keep two processors busy, because many tests only wait. At most two of the processes run Ray
at the same time: one has the running cluster, and one has all other clusters.

The tests of a unit run in one process, one after the other. A unit is one file, or several files that share
something that starts slowly, such as a cluster.
"""

import re
from typing import Any

import pytest

#: Units of several files: name -> pattern of test ids. They start first, in this order. The units between the
#: two with clusters let the first cluster start before the second one.
UNITS = {
    "running cluster": r"tests/(launch/(?!test_serving|test_open_address)|faults/test_cluster)",
    "clients": r"tests/conformance/",
    # Importing this package takes 4 s, and a cross-encoder as long again.
    "sentence-transformers": (
        r"tests/(cluster/engines/test_(contract|families|open|sentence_transformers_kind)"
        r"|serve_app/(edge/test_(admission|compatibility_fields)|retrieval/test_job_retrieval"
        r"|routes/test_(rerank|search)))\.py"
    ),
    "other clusters": r"tests/(data_jobs/test_|launch/|nodes/|faults/test_kill_ingest)",
    "faults": r"tests/faults/",
}
#: Fixtures that import sentence-transformers. Their tests belong to that unit.
SENTENCE_TRANSFORMERS = {"cross_encoder", "oracle"}


def unit_of(test: str) -> str:
    """Name of the unit of the test with this id."""
    return next((name for name, pattern in UNITS.items() if re.match(pattern, test)), test.split("::")[0])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put slow tests last, and those of the running cluster at the very end, so that no other test runs at
    the same time.

    If several processes share the tests, the units of several files come before all others.
    """
    names = list(UNITS) if hasattr(config, "workerinput") else []

    def place(item: pytest.Item) -> tuple[int, bool, bool]:
        unit, fixtures = unit_of(item.nodeid), getattr(item, "fixturenames", ())
        if unit != "sentence-transformers" and SENTENCE_TRANSFORMERS.intersection(fixtures):
            raise pytest.UsageError(f"add {item.nodeid} to the unit sentence-transformers of {__file__}")
        return (
            names.index(unit) if unit in names else len(names),
            "running_cluster" in fixtures,
            item.get_closest_marker("launch") is not None,
        )

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process that has finished a unit takes the next one, in the order of collection."""
    from xdist.scheduler import LoadScopeScheduling

    class UnitScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    config.option.loadscopereorder = False  # by default the units with the most tests go first
    return UnitScheduling(config, log)
