"""The files of the dashboards and of Prometheus are valid. ``launch/test_serving`` compares them with a
running cluster.
"""

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from tests.cluster.deploy.exported_metrics import exported_metrics
from tests.conftest import ROOT

DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in (ROOT / "cluster/deploy/grafana").glob("*.json")
}
DASHBOARD = DASHBOARDS["endpoint"]
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "cluster/deploy/prometheus.yaml").read_text())
GRAPHS = [
    panel for dashboard in DASHBOARDS.values() for panel in dashboard["panels"] if panel["type"] != "row"
]
#: Columns of Grafana's grid.
COLUMNS = 24
#: Variables that Grafana itself defines.
BUILT_IN = {"__rate_interval"}


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Return every query of every panel."""
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def metrics_asked_for(dashboard: dict[str, Any]) -> set[str]:
    """Return the names of the metrics in the dashboard's queries."""
    return {name for text in expressions(dashboard) for name in re.findall(r"\b(?:ray|haproxy)_\w+", text)}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafana_can_import_it(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert len({one["uid"] for one in DASHBOARDS.values()}) == len(DASHBOARDS)
    assert 0 < len(dashboard["uid"]) <= 40
    assert dashboard["title"]
    assert dashboard["description"]
    assert dashboard["schemaVersion"] >= 36
    assert "id" not in dashboard  # Grafana assigns the number; a given one would replace another dashboard
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize("panel", GRAPHS, ids=[panel["title"] for panel in GRAPHS])
def test_a_panel_has_a_title_a_description_a_unit_and_the_chosen_data_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert {part["datasource"]["uid"] for part in (panel, *panel["targets"])} == {"${datasource}"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_cover_each_other(name: str) -> None:
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    cells = [{(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])} for at in places]

    assert all(max(x for x, _ in one) < COLUMNS for one in cells)
    assert [pair for pair in combinations(cells, 2) if pair[0] & pair[1]] == []


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_in_a_query_is_declared(name: str) -> None:
    dashboard = DASHBOARDS[name]
    used = {name for text in expressions(dashboard) for name in re.findall(r"\$(\w+)", text)}

    assert used - BUILT_IN <= {variable["name"] for variable in dashboard["templating"]["list"]}


def test_panels_rules_and_handbook_name_exactly_the_metrics_that_are_exported() -> None:
    exported = exported_metrics()
    assert len(exported) > 40
    on_panels = {name for dashboard in DASHBOARDS.values() for name in metrics_asked_for(dashboard)}
    rules = (ROOT / "cluster/deploy/alerts.yaml").read_text()
    page = (ROOT / "docs" / "operating.md").read_text().replace("`..._", "`ray_embedding_")
    in_handbook = set(re.findall(r"^\| (`ray_embedding_.*?) \|", page, re.MULTILINE))
    in_rows = {name for row in in_handbook for name in re.findall(r"`(ray_embedding_\w+)`", row)}

    assert {name for name in on_panels if name.startswith("ray_embedding")} == exported
    assert set(re.findall(r"ray_embedding_\w+", rules)) <= exported
    assert in_rows == {name.removesuffix("_bucket") for name in exported}


def test_prometheus_reads_haproxy_at_its_own_port_of_the_same_nodes() -> None:
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}

    assert jobs["ray"]["file_sd_configs"] == jobs["haproxy"]["file_sd_configs"]
    assert "${1}:9101" in [rule.get("replacement") for rule in jobs["haproxy"]["relabel_configs"]]
