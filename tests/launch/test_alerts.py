"""The alerter works in a running cluster: each process reports itself, and one evaluates the rules."""

from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from cluster.alerts.process_reports import ProcessReport, read_reports
from cluster.database import in_one_transaction
from tests.running_cluster import RunningCluster
from tests.waiting import until

pytestmark = pytest.mark.launch


def test_replicas_and_workers_report_and_one_of_them_evaluates(running_cluster: RunningCluster) -> None:
    reports = list[ProcessReport]()

    def all_report() -> bool:
        reports[:] = in_one_transaction(running_cluster.settings, read_reports)
        return {"embedder", "worker"} <= {report.deployment for report in reports if report.works}

    until(all_report, what="the reports of a replica and a worker")
    assert all(0 < report.disk_free_share < 1 for report in reports)
    assert listed(running_cluster).splitlines()[-1].split()[0] in {report.process for report in reports}


def listed(cluster: RunningCluster) -> str:
    """Output of the command that shows the open alerts."""
    command: list[Any] = ["python", "-m", "cluster.alerts", "list"]
    done = run(command, env=cluster.environment, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
