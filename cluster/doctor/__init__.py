"""Looks at every part of a cluster and at what the database says of it: what is wrong, what to do, and what can be mended.

report = examine(settings, mend=False)
report.healthy
"""

from cluster.doctor.examination import examine
from cluster.doctor.report import Finding, Part, Report

__all__ = ["Finding", "Part", "Report", "examine"]
