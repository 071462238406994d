"""Checks each part of a cluster, finds contradictions in the data, and repairs the data if asked.

report = examine(settings, mend=False)
report.healthy
"""

from cluster.doctor.examination import examine
from cluster.doctor.report import Finding, HealthReport, PartCheck

__all__ = ["Finding", "HealthReport", "PartCheck", "examine"]
