"""The measures of an evaluation, its comparison with the last one, and its page."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from psycopg_pool import ConnectionPool

from cluster.evaluation.evaluations import KEPT, newest_evaluation, save_evaluation
from cluster.evaluation.golden import GoldenQuestion
from cluster.evaluation.html_report import html_report
from cluster.evaluation.measures import QuestionResult, measure, measure_all, regressions


def result(rank: int | None, agent: str = "a", *, found: bool = True, **fields: object) -> QuestionResult:
    question = GoldenQuestion(agent=agent, question="<b>Why?</b>", file="x.pdf")
    return replace(QuestionResult(question=question, rank=rank, found=found), **fields)


NOTHING = GoldenQuestion(agent="a", question="Who?", nothing=True)
RESULTS = [
    result(1, seconds=1.0),
    result(2, seconds=2.0),
    result(8, seconds=3.0, sources=["y.pdf", "y.pdf"]),
    result(None, found=False, seconds=4.0),
    QuestionResult(question=NOTHING, found=False, seconds=5.0),
    QuestionResult(question=NOTHING, found=True, seconds=5.0),
]


def test_the_measures_are_those_of_their_definitions() -> None:
    measures = measure(RESULTS)

    assert (measures.questions, measures.errors) == (6, 0)
    assert (measures.hit_at_1, measures.hit_at_5, measures.no_answer_rate) == (1 / 4, 2 / 4, 1 / 4)
    assert measures.mrr == pytest.approx((1 + 1 / 2 + 1 / 8) / 4)
    assert measures.right_refusals == 1 / 2
    assert measures.seconds_p50 == 3.5


def test_a_question_with_an_error_is_not_found_and_has_no_time() -> None:
    measures = measure([result(1, seconds=1.0), result(None, found=False, error="status 500")])

    assert (measures.errors, measures.hit_at_5, measures.seconds_p95) == (1, 0.5, 1.0)


def test_a_loss_beyond_the_tolerance_is_a_regression_of_its_agent() -> None:
    before = measure_all([result(1), result(1, "b")])
    now = measure_all([result(1), result(2, "b")])
    found = {(one.agent, one.measure) for one in regressions(now, before, tolerance=0.3)}

    assert found == {(None, "hit_at_1"), ("b", "hit_at_1"), ("b", "mrr")}
    assert regressions(before, now, tolerance=0.0) == []
    refused = {None: measure([result(None, found=False)])}
    assert "no_answer_rate" in {one.measure for one in regressions(refused, before, tolerance=0.5)}


def test_evaluations_are_compared_within_their_organisation_and_questions(
    pool: ConnectionPool, organisation: str
) -> None:
    measures = measure_all(RESULTS)
    with pool.connection() as connection:
        saved = [
            save_evaluation(connection, organisation, "golden.jsonl", "d-1", measures)
            for _ in range(KEPT + 1)
        ]
        newest = newest_evaluation(connection, organisation, "d-1")
        count = connection.execute(
            "SELECT count(*) FROM agent_evaluations WHERE organisation = %s", [organisation]
        ).fetchone()
        assert newest_evaluation(connection, organisation, "d-2") is None
        assert newest_evaluation(connection, "another", "d-1") is None

    assert newest is not None
    assert newest.measures == measures
    assert newest.created_at == max(one.created_at for one in saved)
    assert count == (KEPT,)


def test_the_page_shows_measures_changes_and_misses_as_text(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        before = save_evaluation(connection, organisation, "g", "d", {None: measure([result(1)] * 4)})
        now = save_evaluation(connection, organisation, "g", "d", {None: measure(RESULTS)})
    page = html_report(now, RESULTS, before)
    HTMLParser().feed(page)

    assert "(-0.750)" in page
    assert "&lt;b&gt;Why?&lt;/b&gt;" in page
    assert "y.pdf" in page
    assert "<script" not in page
    assert "http" not in page
