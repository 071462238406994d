"""Defines the results of an examination."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCheck:
    """Holds the result of the check of one part of the cluster."""

    name: str
    fine: bool
    #: State of the part as text for the operator.
    says: str
    #: Instruction for the operator; empty if the part is fine.
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Describes an ailment that was found in the data."""

    name: str
    #: Number of cases.
    count: int
    #: Some of the cases, each as organisation/id, and with the note of the case if it has one.
    examples: Sequence[str]
    #: Description of the cases.
    says: str
    #: Description of the repair.
    remedy: str
    #: Number of repaired cases; None if no repair was requested.
    mended: int | None = None
    #: Reason why the remaining cases are not repaired; empty if no reason is known.
    trouble: str = ""

    @property
    def remaining(self) -> int:
        """Number of cases that are not repaired."""
        return self.count - (self.mended or 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthReport:
    """Holds the results of one examination."""

    parts: Sequence[PartCheck]
    findings: Sequence[Finding]

    @property
    def healthy(self) -> bool:
        """True if nothing is wrong, or everything is repaired."""
        return all(part.fine for part in self.parts) and not any(
            finding.remaining for finding in self.findings
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can represent."""
        return {"healthy": self.healthy, **asdict(self)}
