"""Messages about alerts, and the alerts that are open.

notice = firing(RULES["DeadLetters"], open_alert, at=now)
notice.text                                       # 'FIRING DeadLetters: Jobs of the kind crawl failed ...'
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from cluster.alerts.rules import AlertRule

#: ``test`` is a message that ``python -m cluster.alerts test`` sends.
NoticeState = Literal["firing", "resolved", "test"]
PAGE = "docs/runbook.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenAlert:
    """A condition of a rule that is true now."""

    rule: str
    #: The labels with their values.
    labels: dict[str, str]
    #: The condition has been true since then.
    since: datetime
    #: The value that broke the limit, at the last evaluation.
    value: float
    #: Time at which the alert fired; None while the condition has not lasted long enough.
    fired_at: datetime | None = None
    #: Time of the last message about the alert.
    notified_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertNotice:
    """A message that an alert fires or that its cause is gone."""

    state: NoticeState
    rule: str
    severity: str
    labels: dict[str, str]
    value: float
    summary: str
    description: str
    #: The condition has been true since then.
    since: datetime
    #: Time of the message.
    at: datetime
    #: The same for every channel and every attempt, so that receivers recognise a repetition.
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
        """Return the data of the event that a webhook receives. ``from_json`` reads it again."""
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
    """Return the notice that ``AlertNotice.json`` wrote."""
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
    """Return the message that the cause of the alert is gone."""
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
