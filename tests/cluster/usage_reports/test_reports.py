"""A report is exact and always the same, becomes final once, and is only corrected by the next report."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import duckdb
import pymupdf
import pytest
from psycopg import Connection, errors
from psycopg_pool import ConnectionPool

from cluster.blobs import BlobStore
from cluster.doctor.ailment import Patient
from cluster.doctor.report_ailments import REPORTS
from cluster.errors import InvalidInput, QuotaExceeded
from cluster.jobs.jobs import SYSTEM
from cluster.organisations.audit import list_events
from cluster.settings import Settings
from cluster.usage_reports.exact import exact_sum
from cluster.usage_reports.reports import UsageReport, list_reports
from cluster.usage_reports.requests import MAX_QUEUED, request_report
from tests.cluster.usage_reports.billed import (
    AFTER_GRACE,
    FIRST,
    IN_GRACE,
    IN_PERIOD,
    NEXT_AFTER_GRACE,
    Billed,
    much_usage,
    new_billed,
)


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


Amounts = dict[tuple[str, ...], tuple[int, Decimal]]


def billed_amounts(billed: Billed, reports: Iterable[UsageReport]) -> Amounts:
    """Quantity and cost of each day, agent, model and kind, over all lines of the reports."""
    quantities: Counter[tuple[str, ...]] = Counter()
    costs: dict[tuple[str, ...], Decimal] = {}
    for report in reports:
        for row in rows_of(billed.csv(report)):
            key = (row["day"], row["agent"], row["model"], row["kind"])
            quantities[key] += int(row["quantity"])
            costs[key] = exact_sum([costs.get(key), Decimal(row["cost_usd"] or 0)])
    return {key: (quantity, costs[key]) for key, quantity in quantities.items()}


def rolled_amounts(billed: Billed, until: date) -> Amounts:
    with billed.opener() as connection:
        rows = connection.execute(
            "SELECT day, coalesce(agent, ''), coalesce(model, ''), kind, sum(quantity),"
            " coalesce(sum(cost), 0) FROM usage_daily"
            " WHERE organisation = %s AND day < %s GROUP BY 1, 2, 3, 4",
            [billed.id, until],
        )
        return {(str(day), *names): (int(quantity), cost) for day, *names, quantity, cost in rows}


def test_pdf_csv_and_duckdb_agree_to_the_last_digit(billed: Billed, tmp_path: Any) -> None:
    much_usage(billed, seed=3)
    report = billed.report("2026-03-20", AFTER_GRACE)
    data = billed.csv(report)
    (tmp_path / "report.csv").write_bytes(data)
    found = duckdb.sql(
        "SELECT agent, kind, sum(quantity::HUGEINT), sum(events::BIGINT), sum(cost_usd::DECIMAL(38, 12))"
        f" FROM read_csv('{tmp_path}/report.csv', all_varchar = true) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    with billed.opener() as connection:
        rolled = connection.execute(
            "SELECT coalesce(agent, ''), kind, sum(quantity), sum(events), sum(cost) FROM usage_daily"
            " WHERE organisation = %s GROUP BY 1, 2",
            [billed.id],
        ).fetchall()
    assert {(agent or "", *rest) for agent, *rest in found} == set(rolled)
    document = pymupdf.open(stream=billed.pdf(report))
    text = "\n".join(page.get_text() for page in document)
    words = set(text.replace(",", "").split())
    for _, _, quantity, events, cost in found:
        amounts = {str(quantity), str(events)} | (set() if cost is None else {f"{cost.normalize():f}"})
        assert amounts <= words
    total = exact_sum(cost for *_, cost in found)
    assert report.cost == total
    assert {f"{total.normalize():f}", sha256(data).hexdigest(), "FINAL"} <= words
    assert report.csv_sha256 == sha256(data).hexdigest()
    assert f"Page 1 of {len(document)}" in text
    assert {"Definitions", "Event counts", "Zürich & Söhne"} <= set(text.splitlines())


def test_the_same_usage_gives_the_same_bytes(billed: Billed) -> None:
    much_usage(billed, seed=4, days=10)
    first, second = billed.report("current", IN_PERIOD), billed.report("current", IN_PERIOD)
    assert first.id != second.id
    assert billed.csv(first) == billed.csv(second)
    assert billed.pdf(first) == billed.pdf(second)
    assert (first.state, "DRAFT" in pymupdf.open(stream=billed.pdf(first))[0].get_text()) == ("draft", True)


def test_late_usage_becomes_an_adjustment_and_the_final_report_never_changes(billed: Billed) -> None:
    billed.roll_up(FIRST, 100, "0.1")
    (draft,) = billed.due(IN_GRACE)
    billed.roll_up(FIRST, 20, "0.02")  # in the grace period
    (final,) = billed.due(AFTER_GRACE)
    before = billed.csv(final), billed.pdf(final)
    assert (draft.state, draft.cost, final.state, final.cost) == (
        "draft",
        Decimal("0.1"),
        "final",
        Decimal("0.12"),
    )
    billed.roll_up(FIRST, 3, "0.003")
    billed.roll_up(date(2026, 4, 20), 7, "0.07")
    assert billed.due(AFTER_GRACE) == []
    assert billed.report("2026-03-15", AFTER_GRACE) == final
    assert (billed.csv(final), billed.pdf(final)) == before
    assert len(billed.due(NEXT_AFTER_GRACE)) == 1
    with billed.opener() as connection:
        found = connection.execute(
            "SELECT id FROM usage_reports WHERE organisation = %s AND state = 'final' ORDER BY period_start",
            [billed.id],
        ).fetchall()
    following = billed.report("2026-04-15", NEXT_AFTER_GRACE)
    assert [id for (id,) in found] == [final.id, following.id]
    adjustments = [row for row in rows_of(billed.csv(following)) if row["line"] == "adjustment"]
    assert [(row["day"], row["quantity"], row["events"], row["cost_usd"]) for row in adjustments] == [
        ("2026-03-15", "3", "1", "0.003")
    ]
    assert "Adjustments of earlier periods" in pymupdf.open(stream=billed.pdf(following))[1].get_text()
    assert billed_amounts(billed, [final, following]) == rolled_amounts(billed, date(2026, 5, 15))


def test_usage_that_disappears_is_credited(billed: Billed) -> None:
    billed.roll_up(FIRST, 100, "0.1")
    billed.roll_up(FIRST, 5, "0.5", model="wrong")
    billed.due(AFTER_GRACE)
    with billed.opener() as connection:
        connection.execute("DELETE FROM usage_daily WHERE organisation = %s AND model = 'wrong'", [billed.id])
    report = billed.report("2026-04-15", NEXT_AFTER_GRACE)
    (row,) = rows_of(billed.csv(report))
    assert (row["line"], row["model"], row["quantity"], row["cost_usd"]) == (
        "adjustment",
        "wrong",
        "-5",
        "-0.5",
    )
    assert report.cost == Decimal("-0.5")


def test_the_database_refuses_to_change_or_delete_a_final_report(billed: Billed) -> None:
    billed.roll_up(FIRST, 1)
    billed.due(AFTER_GRACE)
    for statement in (
        "UPDATE usage_reports SET cost = 0 WHERE organisation = %s",
        "DELETE FROM usage_reports WHERE organisation = %s",
        "UPDATE usage_report_lines SET quantity = 0 WHERE organisation = %s",
        "DELETE FROM usage_report_lines WHERE organisation = %s",
    ):
        with pytest.raises(errors.InsufficientPrivilege), billed.opener() as connection:
            connection.execute(statement, [billed.id])


def test_an_outage_of_months_is_made_up_and_periods_have_no_gaps(billed: Billed) -> None:
    billed.roll_up(FIRST, 1)
    assert [report.period_start for report in billed.due(AFTER_GRACE)] == [FIRST]
    with billed.opener() as connection:
        connection.execute("UPDATE organisations SET billing_day = 1 WHERE id = %s", [billed.id])
    made = billed.due(datetime.fromisoformat("2026-07-02T00:00:00+00:00"))
    assert [(str(one.period_start), str(one.period_end), one.state) for one in made] == [
        ("2026-04-15", "2026-05-01", "final"),
        ("2026-05-01", "2026-06-01", "final"),
        ("2026-06-01", "2026-07-01", "draft"),
    ]
    with billed.opener() as connection:
        audit = list_events(connection, billed.id, type="usage_report.finalised").items
    assert len(audit) == 3


@pytest.mark.parametrize(
    ("time_zone", "last_instant_of_draft"),
    [("America/New_York", "2026-04-18T03:59:59+00:00"), ("Asia/Kathmandu", "2026-04-17T18:14:59+00:00")],
)
def test_the_grace_period_ends_at_midnight_of_the_organisation(
    pool: ConnectionPool, blobs: BlobStore, time_zone: str, last_instant_of_draft: str
) -> None:
    billed = new_billed(pool, blobs, time_zone=time_zone)
    billed.roll_up(FIRST, 1)
    last = datetime.fromisoformat(last_instant_of_draft)
    assert billed.report("2026-03-20", last, with_pdf=False).state == "draft"
    assert billed.report("2026-03-20", last + timedelta(seconds=1)).state == "final"


def test_names_cannot_become_formulas_and_are_shown_in_many_scripts(
    billed: Billed, connection: Connection[Any]
) -> None:
    names = [
        "=1+1",
        "+1",
        "-1",
        "@a",
        "\t=1",
        "'a",
        'a,"b"\r\nc',
        "株式会社",
        "ελ Ж",
        "सहायक",
        "x" * 500,
        "😀",
    ]
    for number, name in enumerate(names):
        connection.execute(
            "INSERT INTO agents (organisation, id, external_id, name) VALUES (%s, %s, %s, %s)",
            [billed.id, f"agent_{number:02}", f"{number}", name],
        )
        billed.roll_up(FIRST, 1, agent=f"agent_{number:02}", model="=model()")
    report = billed.report("current", IN_PERIOD)
    rows = rows_of(billed.csv(report))
    assert [row["agent_name"] for row in rows] == [
        f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "'")) else name for name in names
    ]
    assert {row["model"] for row in rows} == {"'=model()"}
    assert b"\n" not in billed.csv(report).replace(b"\r\n", b"")
    text = "".join("".join(page.get_text() for page in pymupdf.open(stream=billed.pdf(report))).split())
    assert {"株式会社", "ελЖ", "[U+0938]", "[U+1F600]"} == {
        name for name in ("株式会社", "ελЖ", "[U+0938]", "[U+1F600]") if name in text
    }


def test_a_long_table_repeats_its_head_on_every_page(billed: Billed) -> None:
    for number in range(150):
        billed.roll_up(FIRST, number, "0.5", agent=f"agent_{number:03}")
    document = pymupdf.open(stream=billed.pdf(billed.report("current", IN_PERIOD)))
    pages = [page.get_text() for page in document]
    assert len(pages) >= 5
    assert all("Cost in US dollars" in page for page in pages[2:-1])
    assert [f"Page {number} of {len(pages)}" in page for number, page in enumerate(pages, 1)] == [True] * len(
        pages
    )


@pytest.mark.parametrize("period", ["yesterday", "2026-04-31", "1999-12-31", "2026-04-02"])
def test_a_period_that_cannot_have_a_report_is_refused(billed: Billed, period: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        billed.report(period, IN_PERIOD)
    assert refused.value.param == "period"


def test_an_organisation_cannot_fill_the_queue_with_drafts(billed: Billed) -> None:
    with billed.opener() as connection:
        for _ in range(MAX_QUEUED):
            request_report(connection, billed.id, period="current", with_pdf=False, grace_days=3)
        with pytest.raises(QuotaExceeded, match="50 usage reports"):
            request_report(connection, billed.id, period="current", with_pdf=False, grace_days=3)


def test_the_doctor_finds_reports_without_files_and_deletes_only_drafts(
    billed: Billed, settings: Settings
) -> None:
    billed.roll_up(FIRST, 13, "0.000013")
    final = billed.report("2026-03-20", AFTER_GRACE)
    draft = billed.report("current", AFTER_GRACE)
    billed.roll_up(FIRST, 1)
    kept = billed.report("current", AFTER_GRACE)
    for report in (final, draft):
        billed.blobs.delete(SYSTEM, str(report.pdf_sha256))
    patient = Patient(settings=settings, pool=billed.pool)

    def found() -> set[str]:
        return {case.id for case in REPORTS.find(patient) if case.organisation == billed.id}

    assert found() == {final.id, draft.id}
    REPORTS.mend(patient, REPORTS.find(patient))
    assert found() == {final.id}
    with billed.opener() as connection:
        assert {one.id for one in list_reports(connection, billed.id).items} == {final.id, kept.id}
