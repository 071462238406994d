"""Define what a report contains. The CSV and the PDF are made from this content alone, so the same content
gives the same bytes.

    content = ReportContent(organisation="acme", name="Acme", time_zone="UTC", period=period, final=False,
                            lines=())
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cluster.usage_reports.periods import BillingPeriod


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportLine:
    """Holds the usage of one day, agent, model and kind of work."""

    #: True if the day is before the report's period. The amounts of the line are then the differences to what
    #: earlier reports have billed.
    adjustment: bool
    day: date
    #: Id of the platform's agent; empty if no agent did the work.
    agent: str
    #: Name of the agent for people; empty if the agent is unknown.
    agent_name: str
    #: Name of the model; empty if no model did the work.
    model: str
    #: Kind of work, such as ``embedding``.
    kind: str
    #: Unit of ``quantity``, such as ``tokens``.
    unit: str
    quantity: int
    #: Number of usage events.
    events: int
    #: Cost in US dollars; None if no price is known.
    cost: Decimal | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContent:
    """Holds everything that a report shows."""

    organisation: str
    #: Name of the organisation for people.
    name: str
    #: IANA name of the zone in which the days begin.
    time_zone: str
    period: BillingPeriod
    #: True for a final report, False for a draft.
    final: bool
    #: Lines about the period, and then adjustments of earlier periods; each part is ordered by day, agent,
    #: model and kind.
    lines: tuple[ReportLine, ...]

    @property
    def usage(self) -> list[ReportLine]:
        """The lines about the period."""
        return [line for line in self.lines if not line.adjustment]

    @property
    def adjustments(self) -> list[ReportLine]:
        """The lines about earlier periods."""
        return [line for line in self.lines if line.adjustment]
