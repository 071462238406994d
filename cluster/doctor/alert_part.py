"""Checks that a process evaluates the rules of the alerts, and that messages about alerts arrive."""

from typing import Any

from psycopg import Connection

from cluster.alerts import alert_store
from cluster.alerts.channels import channel_names
from cluster.alerts.process_reports import read_reports
from cluster.doctor.report import PartCheck
from cluster.settings import Settings

NAME = "alerts"


def alerts(settings: Settings, connection: Connection[Any]) -> PartCheck:
    """Check that a process evaluates the rules if at least one replica or worker works, and that no channel
    fails to send messages.
    """
    if not settings.alerts:
        return PartCheck(name=NAME, fine=True, says="only Prometheus evaluates the rules (CLUSTER_ALERTS)")
    firing = alert_store.firing_counts(connection)
    says = f"{', '.join(sorted(firing))} fires; see docs/runbook.md" if firing else "no alert fires"
    last = alert_store.read_last_evaluation(connection)
    if alert_store.is_late(last) and any(report.works for report in read_reports(connection)):
        return PartCheck(
            name=NAME,
            fine=False,
            says="no process evaluates the rules, although replicas or workers run",
            remedy="look for watch_failed in the logs of replicas and workers",
        )
    if failed := alert_store.failing_channels(connection, channel_names(settings)):
        troubles = "; ".join(f"{channel}: {error}" for channel, error in failed.items())
        remedy = "correct the settings of the channel; python -m cluster.alerts test tries each channel"
        return PartCheck(name=NAME, fine=False, says=f"messages do not arrive: {troubles}", remedy=remedy)
    return PartCheck(name=NAME, fine=True, says=says)
