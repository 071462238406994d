"""Writes an evaluation as one HTML page that has no scripts and loads nothing from other addresses.

page = html_report(evaluation, results, before)
"""

from collections.abc import Mapping, Sequence
from html import escape

from cluster.evaluation.evaluations import Evaluation
from cluster.evaluation.measures import EvaluationMeasures, QuestionResult

#: The columns of the table: the name of a measure, its title, and True for a share, which is drawn as a bar.
COLUMNS = (
    ("questions", "Questions", False),
    ("hit_at_1", "hit@1", True),
    ("hit_at_5", "hit@5", True),
    ("mrr", "MRR", True),
    ("no_answer_rate", "No answer", True),
    ("right_refusals", "Right refusals", True),
    ("first_text_p50_s", "First text p50, s", False),
    ("seconds_p95", "Answer p95, s", False),
    ("errors", "Errors", False),
)
#: Maximum number of questions that the page shows because no right source is among the first five.
SHOWN_MISSES = 500

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Evaluation of {name}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }}
th, td {{ border-bottom: 1px solid #8886; padding: .35rem .6rem; text-align: right; vertical-align: top; }}
th:first-child, td:first-child, .words td, .words th {{ text-align: left; }}
meter {{ width: 5rem; margin-left: .4rem; }}
.worse {{ color: #c0392b; }} .better {{ color: #1e8449; }}
</style></head><body>
<h1>Evaluation of {name}</h1>
<p>{when}. {compared}</p>
<h2>Measures</h2>
<table><tr><th>Agent</th>{heads}</tr>{rows}</table>
<h2>Questions without a right source among the first five</h2>
{misses}
</body></html>
"""


def html_report(evaluation: Evaluation, results: Sequence[QuestionResult], before: Evaluation | None) -> str:
    """Return the page: the measures of each agent with their change since ``before``, and the missed
    questions.
    """
    old: Mapping[str | None, EvaluationMeasures] = {} if before is None else before.measures
    compared = (
        "It is the first evaluation of these questions."
        if before is None
        else f"Changes are measured against the evaluation of {before.created_at:%Y-%m-%d %H:%M} UTC."
    )
    return PAGE.format(
        name=escape(evaluation.name),
        when=f"{evaluation.created_at:%Y-%m-%d %H:%M} UTC",
        compared=compared,
        heads="".join(f"<th>{title}</th>" for _, title, _ in COLUMNS),
        rows="".join(
            _row("all agents" if agent is None else agent, measures, old.get(agent))
            for agent, measures in evaluation.measures.items()
        ),
        misses=_misses(results),
    )


def _row(agent: str, now: EvaluationMeasures, before: EvaluationMeasures | None) -> str:
    cells = (_cell(name, share, now, before) for name, _, share in COLUMNS)
    return f"<tr><td>{escape(agent)}</td>{''.join(cells)}</tr>"


def _cell(name: str, share: bool, now: EvaluationMeasures, before: EvaluationMeasures | None) -> str:
    value = getattr(now, name)
    if value is None:
        return "<td>–</td>"
    if not share:
        return f"<td>{value if isinstance(value, int) else f'{value:.3f}'}</td>"
    old = None if before is None else getattr(before, name)
    return f"<td>{value:.3f}{_change(name, value, old)}<meter value='{value:.3f}'></meter></td>"


def _change(name: str, value: float, old: float | None) -> str:
    if old is None or f"{value:.3f}" == f"{old:.3f}":
        return ""
    better = (value > old) != (name == "no_answer_rate")
    return f" <span class='{'better' if better else 'worse'}'>({value - old:+.3f})</span>"


def _misses(results: Sequence[QuestionResult]) -> str:
    missed = [one for one in results if not one.question.nothing and (one.rank is None or one.rank > 5)]
    if not missed:
        return "<p>There is none.</p>"
    rows = "".join(
        f"<tr><td>{escape(one.question.agent)}</td><td>{escape(one.question.question)}</td>"
        f"<td>{escape(one.question.file or one.question.sentence or '')}</td>"
        f"<td>{escape(one.error or ', '.join(dict.fromkeys(one.sources)) or 'nothing')}</td></tr>"
        for one in missed[:SHOWN_MISSES]
    )
    more = len(missed) - SHOWN_MISSES
    note = f"<p>{more:,} more questions are left out.</p>" if more > 0 else ""
    heads = "<tr><th>Agent</th><th>Question</th><th>Expected</th><th>Found</th></tr>"
    return f"<table class='words'>{heads}{rows}</table>{note}"
