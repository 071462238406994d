"""Defines the open alerts, and the messages about alerts.

notice = firing(RULES["DeadLetters"], open_alert, at=now)
notice.text                                       # 'FIRING DeadLetters: Jobs of the kind crawl failed ...'
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from cluster.alerts.rules import AlertRule

#: The reason for a message. ``test``: a person ran ``python -m cluster.alerts test``.
NoticeState = Literal["firing", "resolved", "test"]
PAGE = "docs/runbook.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenAlert:
    """Describes an alert whose condition is true. Each combination of label values has its own alert."""

    rule: str
    #: The labels with their values.
    labels: dict[str, str]
    #: Time of the first evaluation that found the condition true.
    since: datetime
    #: The value that broke the limit, at the last evaluation.
    value: float
    #: Time at which the alert fired; None while the condition has not lasted long enough.
    fired_at: datetime | None = None
    #: Time of the last message about the alert; None if there has been no message yet.
    notified_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertNotice:
    """Holds a message that an alert fires, that its condition has ended, or that the channels are tested."""

    state: NoticeState
    rule: str
    severity: str
    labels: dict[str, str]
    value: float
    summary: str
    description: str
    #: Time of the first evaluation that found the condition true.
    since: datetime
    #: Time of the message.
    at: datetime
    #: Id of the message, which is the same for every channel and every attempt, so that receivers recognise a
    #: message that arrives twice.
    id: str = field(default_factory=lambda: f"alert_{uuid4().hex}")

    @property
    def title(self) -> str:
        """One line that says what happened."""
        return f"{self.state.upper()} {self.rule}: {self.summary}"

    @property
    def text(self) -> str:
        """The whole message for a person."""
        lasted_s = round((self.at - self.since).total_seconds())
        lines = [
            self.title,
            f"Severity: {self.severity}",
            f"Value: {self.value:g}",
            f"Since: {self.since:%Y-%m-%d %H:%M:%S %Z} ({lasted_s} s)",
        ]
        lines += [f"{name}: {value}" for name, value in self.labels.items()]
        lines += ["", self.description, f"Runbook: {PAGE}#{self.rule.lower()}"]
        return "\n".join(lines) + "\n"

    def json(self) -> dict[str, Any]:
        """Return the message as JSON values, for the webhook, the log and the database. ``from_json`` makes
        the message from these values again.
        """
        return {
            "id": self.id,
            "state": self.state,
            "rule": self.rule,
            "severity": self.severity,
            "labels": self.labels,
            "value": self.value,
            "summary": self.summary,
            "description": self.description,
            "since": self.since.isoformat(),
            "at": self.at.isoformat(),
            "runbook": f"{PAGE}#{self.rule.lower()}",
        }


def from_json(data: dict[str, Any]) -> AlertNotice:
    """Return the message from the values that ``AlertNotice.json`` returned."""
    values: dict[str, Any] = {
        name: data[name] for name in ("id", "state", "rule", "severity", "labels", "value")
    }
    values |= {name: data[name] for name in ("summary", "description")}
    values |= {name: datetime.fromisoformat(data[name]) for name in ("since", "at")}
    return AlertNotice(**values)


def firing(rule: AlertRule, alert: OpenAlert, *, at: datetime) -> AlertNotice:
    """Return the message that the alert fires."""
    return _notice("firing", rule, alert, at)


def resolved(rule: AlertRule, alert: OpenAlert, *, at: datetime) -> AlertNotice:
    """Return the message that the condition of the alert has ended."""
    return _notice("resolved", rule, alert, at)


def _notice(state: NoticeState, rule: AlertRule, alert: OpenAlert, at: datetime) -> AlertNotice:
    return AlertNotice(
        state=state,
        rule=rule.name,
        severity=rule.severity,
        labels=alert.labels,
        value=alert.value,
        summary=rule.summary.format(**alert.labels),
        description=rule.description.format(**alert.labels),
        since=alert.since,
        at=at,
    )
