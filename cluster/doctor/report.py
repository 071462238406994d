"""The results of an examination."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCheck:
    """Result of the check of one part of the cluster."""

    name: str
    fine: bool
    #: State of the part, in a sentence.
    says: str
    #: Instruction for the operator; empty if the part is fine.
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """An ailment that was found in the data."""

    name: str
    #: Number of cases.
    count: int
    #: Some of the cases, as organisation/id.
    examples: Sequence[str]
    #: Description of the cases.
    says: str
    #: Action of a repair.
    remedy: str
    #: Number of repaired cases; None if no repair was asked for.
    mended: int | None = None
    #: Reason why the other cases are not repaired; empty if there are none.
    trouble: str = ""

    @property
    def remaining(self) -> int:
        """Number of cases that are not repaired."""
        return self.count - (self.mended or 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthReport:
    """Results of one examination."""

    parts: Sequence[PartCheck]
    findings: Sequence[Finding]

    @property
    def healthy(self) -> bool:
        """True if nothing is wrong, or everything is repaired."""
        return all(part.fine for part in self.parts) and not any(
            finding.remaining for finding in self.findings
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return {"healthy": self.healthy, **asdict(self)}
