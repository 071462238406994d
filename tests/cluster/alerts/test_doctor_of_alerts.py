"""The doctor says whether alerts are evaluated and whether their messages arrive."""

from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.alerts.process_reports import ProcessReport, write_report
from cluster.doctor.alert_part import alerts
from cluster.settings import Settings
from tests.cluster.alerts.conftest import KeepingChannel
from tests.cluster.alerts.test_alerter import NewAlerter, blob_store_full, new_alerter, session, until

__all__ = ["new_alerter", "session"]


def test_processes_without_an_evaluator_and_a_channel_that_fails_are_found(
    own_settings: Settings, session: Connection[Any], own_pool: ConnectionPool, new_alerter: NewAlerter
) -> None:
    assert alerts(own_settings, session).says == "no alert fires"
    write_report(session, ProcessReport(process="a", deployment="worker", node="host"))
    unwatched = alerts(own_settings, session)
    assert (unwatched.fine, unwatched.says[:36]) == (False, "no process evaluates the rules, alth")
    assert alerts(own_settings.model_copy(update={"alerts": False}), session).fine
    mail = KeepingChannel("mail")
    mail.failures = 10**6
    with blob_store_full(own_pool):
        new_alerter(mail).evaluate(session)
        until(lambda: not alerts(own_settings, session).fine)
        assert "mail: the receiver is away" in alerts(own_settings, session).says
        mail.failures = 0
        until(lambda: alerts(own_settings, session).fine)
        assert alerts(own_settings, session).says == "ResourceUsedUp fires; see docs/runbook.md"
