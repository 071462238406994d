"""Read the files of completed reports. This module does not import ReportLab, because each replica of the
endpoint imports this module.

    read_file(blobs, report, pdf=True)         # b"%PDF-1.4 ..."
"""

from cluster.blobs import BlobStore
from cluster.errors import Conflict, NotFound
from cluster.jobs.jobs import SYSTEM
from cluster.usage_reports.reports import COMPLETED, UsageReport


def read_file(blobs: BlobStore, report: UsageReport, *, pdf: bool) -> bytes:
    """Return the CSV or the PDF of a completed report.

    Raises:
        Conflict: the report is not completed.
        NotFound: the report has no PDF.
        Permanent: the blob is missing or damaged.
    """
    if report.status != COMPLETED:
        raise Conflict(f"usage report {report.id} is {report.status}; wait until it is completed")
    sha256 = report.pdf_sha256 if pdf else report.csv_sha256
    if sha256 is None:
        raise NotFound(f"usage report {report.id} has no PDF; request a report with the format pdf")
    return blobs.read(SYSTEM, sha256)
