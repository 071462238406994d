"""The handbook prints the definitions and columns that the code uses, and a rate without a basis is null."""

import re

from cluster.analytics.definitions import BASIS, RATES
from cluster.analytics.measures import MEASURES, Measures
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "analytics.md").read_text()


def test_the_handbook_prints_every_definition() -> None:
    assert BASIS in " ".join(PAGE.split())
    assert [name for name, rate in RATES.items() if f"| `{name}` | {rate.text} |" not in PAGE] == []


def test_the_handbook_names_every_column() -> None:
    columns = PAGE.partition("| Column of")[2]
    assert set(re.findall(r"`(\w+)`", " ".join(re.findall(r"(?m)^\| (`[^|]*)\|", columns)))) == {
        *MEASURES,
        "computed_at",
    }


def test_rates_are_exact_and_null_without_a_basis() -> None:
    measures = Measures(errors_by_class={}, conversations=3, handed_over=1, ratings=2, satisfied=1)
    rates = {name: rate.of(measures) for name, rate in RATES.items()}
    assert rates["containment"] == 0.666667
    assert rates["csat"] == 0.5
    assert rates["csat_response_rate"] == 0.666667
    assert rates["no_answer_rate"] is None
