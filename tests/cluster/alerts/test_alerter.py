"""Messages: one for each alert, also if processes die, channels fail or the database has no room."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.alerts import alert_store
from cluster.alerts.__main__ import main
from cluster.alerts.alerter import Alerter
from cluster.alerts.evaluation import RuleEvaluation, key_of
from cluster.alerts.notices import OpenAlert
from cluster.alerts.process_reports import SILENT_S, ProcessReport, read_reports, write_report
from cluster.alerts.rules import RULES
from cluster.alerts.watch import ProcessWatch
from cluster.database import connect, for_all_organisations
from cluster.database.shortages import announce
from cluster.doctor.alert_part import alerts
from cluster.errors import Resource
from cluster.retrying import Backoff
from cluster.settings import Settings
from tests.cluster.alerts.conftest import AT_ONCE, KeepingChannel
from tests.waiting import until

NOW = datetime.now(UTC)
AT = [NOW + timedelta(seconds=seconds) for seconds in range(0, 4_000, 30)]
NewAlerter = Callable[..., Alerter]


@pytest.fixture
def session(own_settings: Settings, own_pool: ConnectionPool) -> Iterator[Connection[Any]]:
    """The session of an evaluator."""
    del own_pool  # it has made the schema
    with for_all_organisations(), connect(own_settings) as connection:
        yield connection
        if not connection.closed:  # otherwise the server releases the lock some time after the end
            connection.execute("SELECT pg_advisory_unlock_all()")


@pytest.fixture
def new_alerter(own_settings: Settings) -> Iterator[NewAlerter]:
    """``new_alerter(channel)`` makes an alerter that repeats failed messages quickly."""
    made: list[Alerter] = []

    def make(*channels: KeepingChannel, process: str = "first", **changes: Any) -> Alerter:
        rules = changes.pop("rules", AT_ONCE)
        settings = own_settings.model_copy(update=changes)
        backoff = Backoff(first_s=0.01, longest_s=0.02)
        made.append(Alerter(settings, process=process, channels=channels, rules=rules, backoff=backoff))
        return made[-1]

    yield make
    for alerter in made:
        alerter.stop()


@contextmanager
def blob_store_full(own_pool: ConnectionPool) -> Iterator[None]:
    with own_pool.connection() as connection:
        connection.autocommit = True
        announce(connection, {Resource.BLOB_STORE})
        try:
            yield
        finally:
            announce(connection, set())
            connection.autocommit = False


def waiting(connection: Connection[Any]) -> list[tuple[str, str]]:
    waiting = alert_store.read_waiting(connection, ["kept", "mail"])
    return [(channel, notice.state) for channel, notice in waiting]


def test_a_condition_fires_only_after_it_has_lasted_and_is_repeated(
    session: Connection[Any], own_pool: ConnectionPool, new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    alerter = new_alerter(kept, rules=RULES, alert_repeat_s=100.0)
    with blob_store_full(own_pool):
        for now in AT[:2]:  # the rule waits for a minute
            alerter.evaluate(session, now=now)
        assert {alert.fired_at for alert in alert_store.read_open(session).values()} == {None}
        for now in AT[2:7]:  # a minute until it fires, and 100 s until it is repeated
            alerter.evaluate(session, now=now)
    alerter.evaluate(session, now=AT[8])
    assert [state for state, _ in kept.wait(3)] == ["firing", "firing", "resolved"]
    assert [notice.at for notice in kept.sent] == [AT[2], AT[6], AT[8]]
    assert {notice.since for notice in kept.sent} == {AT[0]}


def test_a_condition_that_ends_early_gives_no_message(
    session: Connection[Any], own_pool: ConnectionPool, new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    alerter = new_alerter(kept, rules=RULES)
    with blob_store_full(own_pool):
        alerter.evaluate(session, now=AT[0])
    alerter.evaluate(session, now=AT[5])
    assert alert_store.read_open(session) == {}
    assert waiting(session) == []


def test_one_process_evaluates_and_another_continues_when_it_dies(
    own_settings: Settings, own_pool: ConnectionPool, new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    broken, mended = KeepingChannel("mail"), KeepingChannel("mail")
    broken.failures = 10**6
    first = new_alerter(kept, broken)
    second = new_alerter(repeated := KeepingChannel(), mended, process="second")
    with for_all_organisations(), blob_store_full(own_pool), connect(own_settings) as elsewhere:
        with connect(own_settings) as session:
            assert first.evaluate(session, now=AT[0])
            assert not second.evaluate(elsewhere, now=AT[0])
            kept.wait(1)
            until(lambda: waiting(elsewhere) == [("mail", "firing")])
            first.stop()
        # The end of the session is the death of the first process.
        until(lambda: second.evaluate(elsewhere, now=AT[1]))
        assert mended.wait(1) == [("firing", "ResourceUsedUp")]
        until(lambda: waiting(elsewhere) == [])
        assert repeated.sent == []
        with connect(own_settings) as again:
            assert not first.evaluate(again, now=AT[2])


def test_an_evaluator_without_the_database_says_so_until_it_finds_another_evaluator(
    own_settings: Settings, own_pool: ConnectionPool, new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    first, second = new_alerter(kept), new_alerter(others := KeepingChannel(), process="second")
    with for_all_organisations(), connect(own_settings) as elsewhere:
        with connect(own_settings) as session:
            first.evaluate(session, now=AT[0])
        first.database_is_away(30.0, now=AT[1])
        first.database_is_away(61.0, now=AT[2])
        second.database_is_away(61.0, now=AT[2])
        until(lambda: second.evaluate(elsewhere, now=AT[3]))
        with connect(own_settings) as session:
            assert not first.evaluate(session, now=AT[4])
    assert kept.wait(2) == [("firing", "DatabaseAway"), ("resolved", "DatabaseAway")]
    assert [notice.at for notice in kept.sent] == [AT[2], AT[4]]
    assert others.sent == []


def test_messages_are_sent_without_room_in_the_database_and_kept_afterwards(
    session: Connection[Any], new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    alerter = new_alerter(kept)
    alerter.evaluate(session, now=AT[0])
    session.execute("SET default_transaction_read_only = on")
    alerter.evaluate(session, short={Resource.DATABASE_WRITES}, now=AT[1])
    assert kept.wait(1) == [("firing", "ResourceUsedUp")]
    alerter.evaluate(session, short={Resource.DATABASE_WRITES}, now=AT[2])
    session.execute("SET default_transaction_read_only = off")
    alerter.evaluate(session, now=AT[3])
    assert kept.wait(2) == [("firing", "ResourceUsedUp"), ("resolved", "ResourceUsedUp")]
    until(lambda: waiting(session) == [])
    assert session.execute("SELECT count(*), count(sent_at) FROM alert_notices").fetchone() == (2, 2)


def test_a_channel_that_fails_gets_the_same_message_again(
    session: Connection[Any], own_pool: ConnectionPool, new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    kept.failures = 3
    with blob_store_full(own_pool):
        new_alerter(kept).evaluate(session, now=datetime.now(UTC))
        kept.wait(1)
    until(lambda: waiting(session) == [])
    row = session.execute("SELECT id, attempts, error FROM alert_notices").fetchone()
    assert row == (kept.sent[0].id, 4, None)


def test_a_message_stays_sent_if_another_process_records_a_failed_attempt_later(
    session: Connection[Any], own_pool: ConnectionPool, new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    with blob_store_full(own_pool):
        new_alerter(kept).evaluate(session)
        kept.wait(1)
        until(lambda: waiting(session) == [])
    assert alert_store.record_attempt(session, kept.sent[0].id, "kept", error="too late", given_up=True)
    row = session.execute("SELECT sent_at IS NOT NULL, given_up_at, error FROM alert_notices").fetchone()
    assert row == (True, None, None)


def test_a_receiver_that_asks_for_a_wait_gets_no_message_before(
    session: Connection[Any], own_settings: Settings, own_pool: ConnectionPool, kept: KeepingChannel
) -> None:
    kept.failures, kept.asks_to_wait_s = 1, 0.5
    backoff = Backoff(first_s=0.001, longest_s=60.0)
    alerter = Alerter(own_settings, process="p", channels=[kept], rules=AT_ONCE, backoff=backoff)
    with blob_store_full(own_pool):
        alerter.evaluate(session)
        kept.wait(1)
    alerter.stop()
    assert kept.sent_at[0] - kept.failed_at[0] >= 0.5


def test_an_alert_of_an_earlier_release_whose_rule_has_other_labels_ends_without_a_message(
    session: Connection[Any], new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    old = OpenAlert(rule="DeadLetters", labels={"queue": "q"}, since=NOW, fired_at=NOW, value=1.0)
    earlier = RuleEvaluation(open={key_of(old): old}, notices=[])
    alert_store.keep_evaluation(session, {}, earlier, channels=[], process="earlier")
    assert new_alerter(kept).evaluate(session)
    assert (alert_store.read_open(session), waiting(session)) == ({}, [])


def test_a_message_that_nobody_takes_is_given_up_after_a_day(
    session: Connection[Any], own_pool: ConnectionPool, new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    kept.failures = 1
    alerter = new_alerter(kept)
    yesterday = datetime.now(UTC) - timedelta(days=2)
    with blob_store_full(own_pool):
        alerter.evaluate(session, now=yesterday)
    until(lambda: session.execute("SELECT 1 FROM alert_notices WHERE given_up_at IS NOT NULL").fetchone())
    assert (kept.sent, waiting(session)) == ([], [])


def test_a_silent_replica_is_not_healthy_until_a_new_one_replaces_it(
    session: Connection[Any], new_alerter: NewAlerter, kept: KeepingChannel
) -> None:
    alerter = new_alerter(kept)
    write_report(session, ProcessReport(process="a", deployment="embedder", node="host"))
    alerter.evaluate(session)
    session.execute(
        "UPDATE process_reports SET (started_at, reported_at) = (SELECT at, at FROM "
        f"(SELECT now() - interval '{SILENT_S + 1} seconds') AS moment (at))"
    )
    alerter.evaluate(session)
    assert kept.wait(1) == [("firing", "ReplicaUnhealthy")]
    write_report(session, ProcessReport(process="other", deployment="worker", node="host"))
    assert [report.works for report in read_reports(session)] == [False, True]
    write_report(session, ProcessReport(process="b", deployment="embedder", node="host"))
    alerter.evaluate(session)
    assert kept.wait(2)[1] == ("resolved", "ReplicaUnhealthy")


def test_a_process_deletes_its_report_when_it_stops(own_settings: Settings, session: Connection[Any]) -> None:
    home = own_settings.home / "not-made" / "yet"
    settings = own_settings.model_copy(update={"alert_period_s": 0.1, "alerts": False, "home": home})
    watch = ProcessWatch(settings, deployment="worker", state=lambda: {"requests": 7})
    watch.start()
    until(lambda: [report.requests for report in read_reports(session)] == [7])
    assert watch.database_away_s == 0
    watch.stop()
    assert read_reports(session) == []
    assert alert_store.read_last_evaluation(session) is None


def test_the_command_shows_open_alerts_and_whether_the_rules_are_evaluated(
    own_settings: Settings,
    session: Connection[Any],
    own_pool: ConnectionPool,
    new_alerter: NewAlerter,
    kept: KeepingChannel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert own_settings.database_url is not None
    monkeypatch.setenv("CLUSTER_DATABASE_URL", own_settings.database_url.get_secret_value())
    assert main(["list"]) == 1
    assert capsys.readouterr().out.startswith("no alert is open\nno process evaluates the rules")
    with blob_store_full(own_pool):
        new_alerter(kept).evaluate(session, now=NOW)
    kept.wait(1)
    assert main(["list"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("firing  ResourceUsedUp  since")
    assert shown[0].endswith("The resource blob_store is used up, and work waits for it.")
    assert shown[-1].startswith("first evaluated the rules")


def test_processes_without_an_evaluator_and_a_channel_that_fails_are_found(
    own_settings: Settings, session: Connection[Any], own_pool: ConnectionPool, new_alerter: NewAlerter
) -> None:
    with_mail = own_settings.model_copy(update={"alert_mail_to": ("ops@example.com",)})
    assert alerts(own_settings, session).says == "no alert fires"
    write_report(session, ProcessReport(process="a", deployment="worker", node="host"))
    unwatched = alerts(own_settings, session)
    assert (unwatched.fine, unwatched.says[:36]) == (False, "no process evaluates the rules, alth")
    assert alerts(own_settings.model_copy(update={"alerts": False}), session).fine
    mail = KeepingChannel("mail")
    mail.failures = 10**6
    with blob_store_full(own_pool):
        new_alerter(mail).evaluate(session)
        until(lambda: not alerts(with_mail, session).fine)
        assert "mail: the receiver is away" in alerts(with_mail, session).says
        assert alerts(own_settings, session).fine  # these settings name no receiver of mails any more
        mail.failures = 0
        until(lambda: alerts(with_mail, session).fine)
        assert alerts(own_settings, session).says == "ResourceUsedUp fires; see docs/runbook.md"
