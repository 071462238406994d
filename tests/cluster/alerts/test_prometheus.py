"""Prometheus and the built-in alerter have the same rules, from one table."""

import re

import pytest

from cluster.alerts.prometheus import rules_file
from cluster.alerts.rules import RULES
from tests.conftest import ROOT


def test_the_file_of_rules_is_written_from_the_table() -> None:
    assert (ROOT / "cluster/deploy/alerts.yaml").read_text() == rules_file()


@pytest.mark.parametrize("name", RULES)
def test_a_rule_names_only_labels_that_it_has(name: str) -> None:
    rule = RULES[name]
    assert {limit.measure.labels for limit in rule.limits} == {rule.labels}
    assert set(re.findall(r"\{(\w+)\}", rule.summary + rule.description)) <= set(rule.labels)
    assert rule.for_s % 60 == 0  # the file of Prometheus has minutes
