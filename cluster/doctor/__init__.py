"""Examines a cluster: checks each part, finds contradictions in its data, and repairs them if asked.

report = examine(settings, mend=False)
report.healthy
"""

from cluster.doctor.examination import examine
from cluster.doctor.report import Finding, HealthReport, PartCheck

__all__ = ["Finding", "HealthReport", "PartCheck", "examine"]
