"""Each alert fires while its cause lasts, and recovers afterwards. Prometheus itself evaluates the rules."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S

ALERTS = ROOT / "cluster/deploy/alerts.yaml"
(GROUP,) = yaml.safe_load(ALERTS.read_text())["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in GROUP["rules"]}
#: For each alert: the series that show its cause, with a value for each minute. The cause lasts for half an
#: hour, from minute 10 on.
CAUSES = {
    "JobsFail": {
        'ray_embedding_jobs_ended_lately{kind="index_file", state="failed"}': "0x9 6x29 0x60",
        'ray_embedding_jobs_ended_lately{kind="index_file", state="succeeded"}': "50x120",
    },
    "DeadLetters": {'ray_embedding_jobs_ended_lately{kind="crawl", state="failed"}': "0x9 1x29 0x60"},
    "UrgentJobsWait": {
        'ray_embedding_job_oldest_wait_seconds{priority_class="high"}': "3x9 75x29 0x60",
        'ray_embedding_job_oldest_wait_seconds{priority_class="low"}': "900x120",
    },
    "RollupsAreLate": {"ray_embedding_rollup_lag_seconds": "3600x9 7300x29 60x60"},
    "RollupsDiffer": {"ray_embedding_rollup_differences": "0x9 2x29 0x60"},
    "SchedulesAreLate": {"ray_embedding_schedule_lag_seconds": "0x9 400x29 0x60"},
    "ReplicaUnhealthy": {
        'ray_serve_deployment_replica_healthy{deployment="worker", replica="a"}': "1x9 0x29 1x60",
        'ray_serve_deployment_replica_healthy{deployment="worker", replica="b"}': "1x120",
    },
    "EndpointFails": {
        'ray_serve_num_http_requests_total{status_code="200"}': "0+60x120",
        'ray_serve_num_http_requests_total{status_code="503"}': "0x9 0+6x29 180x60",
    },
    "DatabaseAway": {
        "ray_embedding_database_away_seconds": "0x9 60+60x28 0x60",
    },
    "ResourceUsedUp": {'ray_embedding_short{resource="database_disk"}': "0x9 1x29 0x60"},
    "DiskNearlyFull": {
        'ray_node_disk_free{ip="10.0.0.1"}': "50x9 5x29 50x60",
        'ray_node_disk_usage{ip="10.0.0.1"}': "50x9 95x29 50x60",
    },
    "ProviderUnavailable": {"ray_embedding_providers_unavailable": "0x9 1x29 0x60"},
    "UsageWaits": {"ray_embedding_usage_unsent_seconds": "0x9 700x29 0x60"},
}


def test_every_alert_is_tested_and_explained() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text()

    assert set(CAUSES) == set(RULES)
    assert set(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == set(RULES)
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in RULES.values())
    assert {rule["labels"]["severity"] for rule in RULES.values()} == {"warning", "critical"}


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_fires_while_its_cause_lasts(alert: str, tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool, which evaluates the rules, is not installed (Debian's package prometheus)")
    series = [{"series": name, "values": f"{value} stale"} for name, value in CAUSES[alert].items()]
    (tmp_path / "rules.yaml").write_text(ALERTS.read_text())
    moments = {5: False, 35: True, 75: False}
    checks = [
        {"eval_time": f"{minute}m", "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'}
        | {"exp_samples": [{"value": 1}] if fires else []}
        for minute, fires in moments.items()
    ]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": checks}
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    )

    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "test.yaml"],
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT_S,
    )

    assert done.returncode == 0, done.stdout + done.stderr
