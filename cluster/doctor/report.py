"""What the doctor says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of the cluster."""

    name: str
    fine: bool
    #: What was seen.
    says: str
    #: What to do; empty where it is fine.
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something in the data that contradicts something else."""

    name: str
    #: How many there were when they were looked for.
    count: int
    #: Some of them, as organisation/id.
    examples: Sequence[str]
    says: str
    #: What mending does.
    remedy: str
    #: How many are in order now; None where nothing was tried.
    mended: int | None = None
    #: Why the others are not; empty where nothing was tried, or all are.
    trouble: str = ""

    @property
    def left(self) -> int:
        """How many are still as they were."""
        return self.count - (self.mended or 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One examination."""

    parts: Sequence[Part]
    findings: Sequence[Finding]

    @property
    def healthy(self) -> bool:
        """Nothing is wrong, or not any more."""
        return all(part.fine for part in self.parts) and not any(finding.left for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return {"healthy": self.healthy, **asdict(self)}
