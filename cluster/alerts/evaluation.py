"""Compares the facts with the rules, and decides which alerts are open and which messages are due.

found = evaluate(facts, open_alerts, now=now, repeat_s=14_400)
found.open                                        # the open alerts from now on
found.notices                                     # the messages to send
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cluster.alerts.facts import Facts
from cluster.alerts.notices import AlertNotice, OpenAlert, firing, resolved
from cluster.alerts.rules import RULES, AlertRule

#: Identifies an alert by the name of the rule, and by the labels with their values.
AlertKey = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleEvaluation:
    """Holds the open alerts after one evaluation of all rules, and the messages to send."""

    open: dict[AlertKey, OpenAlert]
    notices: list[AlertNotice]


def key_of(alert: OpenAlert) -> AlertKey:
    """Return the key of the alert."""
    return alert.rule, frozenset(alert.labels.items())


def evaluate(
    facts: Facts,
    before: Mapping[AlertKey, OpenAlert],
    *,
    now: datetime,
    repeat_s: float,
    rules: Mapping[str, AlertRule] = RULES,
) -> RuleEvaluation:
    """Evaluate all rules.

    An alert fires when its condition has lasted for the seconds ``for_s`` of the rule, and one message is due
    then. Further messages follow every ``repeat_s`` seconds while the condition lasts. One last message
    follows when the condition ends.

    Args:
        before: the open alerts of the last evaluation.
        now: the time of this evaluation.
        repeat_s: seconds between two messages about an alert that still fires; 0: no repetition.
        rules: the rules to evaluate.
    """
    after, notices = dict[AlertKey, OpenAlert](), list[AlertNotice]()
    for rule in rules.values():
        for values, value in rule.breaches(facts).items():
            labels = dict(zip(rule.labels, values, strict=True))
            new = OpenAlert(rule=rule.name, labels=labels, since=now, value=value)
            known = before.get(key_of(new), new)
            alert, notice = _continued(rule, replace(known, value=value), now, repeat_s)
            after[key_of(alert)] = alert
            notices += notice
    notices += _ended(before, after, now, rules)
    return RuleEvaluation(open=after, notices=notices)


def _continued(
    rule: AlertRule, alert: OpenAlert, now: datetime, repeat_s: float
) -> tuple[OpenAlert, list[AlertNotice]]:
    """Return the alert after this evaluation, and a list with the message that is due. The list is empty if
    no message is due.
    """
    if alert.fired_at is None:
        due = now - alert.since >= timedelta(seconds=rule.for_s)
    else:
        last = alert.notified_at or alert.fired_at
        due = repeat_s > 0 and now - last >= timedelta(seconds=repeat_s)
    if not due:
        return alert, []
    alert = replace(alert, fired_at=alert.fired_at or now, notified_at=now)
    return alert, [firing(rule, alert, at=now)]


def _ended(
    before: Mapping[AlertKey, OpenAlert],
    after: Mapping[AlertKey, OpenAlert],
    now: datetime,
    rules: Mapping[str, AlertRule],
) -> Iterable[AlertNotice]:
    """Return a message for each alert that had fired and whose condition is no longer true.

    An alert of an earlier release ends without a message if this release has no such rule, or if the rule has
    other labels now.
    """
    for key, alert in before.items():
        rule = rules.get(alert.rule)
        if (
            key not in after
            and alert.fired_at is not None
            and rule
            and alert.labels.keys() == set(rule.labels)
        ):
            yield resolved(rule, alert, at=now)
