"""Examines the parts of a cluster and then its data, and repairs the data if asked.

The command (``__main__``) calls ``examine``.

examine(settings, mend=True).healthy
"""

from dataclasses import replace

import structlog

from cluster.database import open_pool, translated
from cluster.database.row_access import ALL
from cluster.doctor import parts
from cluster.doctor.ailment import Ailment, Case, Patient
from cluster.doctor.alert_part import alerts
from cluster.doctor.analytics_ailments import ROLLUPS
from cluster.doctor.chunk_ailments import CHUNKS, DOCUMENTS, WORDS
from cluster.doctor.file_ailments import BLOBS, FILES, FILES_IN_PROGRESS
from cluster.doctor.index_ailments import MISSING, ORPHANS
from cluster.doctor.index_parts import indexes
from cluster.doctor.job_ailments import ENTRY, LEASE, TURN
from cluster.doctor.provider_batch_ailments import PROVIDER_BATCHES
from cluster.doctor.report import Finding, HealthReport
from cluster.doctor.report_ailments import REPORTS
from cluster.doctor.secret_ailments import SECRETS
from cluster.doctor.setting_ailments import INDEXES, MODELS
from cluster.doctor.table_ailments import MISCOUNTED, UNCOUNTED, UNPROTECTED, WITHOUT_INDEX
from cluster.errors import ClusterError
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: The ailments in the order of examination. Ailments of jobs come first, because their repair finishes or
#: queues the work on files and documents.
AILMENTS = (
    *(LEASE, ENTRY, TURN, FILES_IN_PROGRESS),
    *(CHUNKS, DOCUMENTS, MISSING, ORPHANS, WORDS, UNCOUNTED, UNPROTECTED, WITHOUT_INDEX, MISCOUNTED),
    *(FILES, BLOBS, REPORTS, SECRETS),
    *(MODELS, INDEXES, PROVIDER_BATCHES, ROLLUPS),
)
NEED_BLOBS = (FILES, BLOBS, REPORTS)
EXAMPLES = 5


def examine(settings: Settings, *, mend: bool = False) -> HealthReport:
    """Check the parts and the data, and return the results.

    Nothing is started, and nothing is changed unless ``mend`` is true.
    """
    database, blobs = parts.database(settings), parts.blobs(settings)
    others = [parts.ray(settings), parts.engine(settings), parts.parsers(settings)]
    if settings.chat_models:
        others.append(parts.chat(settings))
    if not database.fine:
        return HealthReport(
            parts=[database, blobs, *others], findings=[]
        )  # without the database, there is no data to examine
    pool = open_pool(settings, access=ALL)
    try:
        with translated(), pool.connection() as connection:
            queues, room = parts.queues(settings, connection), parts.room(connection)
            watched = alerts(settings, connection)
        vector_indexes = indexes(settings, pool)
        ailments = [ailment for ailment in AILMENTS if blobs.fine or ailment not in NEED_BLOBS]
        patient = Patient(settings=settings, pool=pool)
        findings = [
            finding for ailment in ailments if (finding := _finding(patient, ailment, mend=mend)) is not None
        ]
        found = [database, room, blobs, queues, watched, vector_indexes, *others]
        return HealthReport(parts=found, findings=findings)
    finally:
        pool.close()


def _finding(patient: Patient, ailment: Ailment, *, mend: bool) -> Finding | None:
    cases = ailment.find(patient)
    if not cases:
        return None
    finding = Finding(
        name=ailment.name,
        count=len(cases),
        examples=[case.label for case in cases[:EXAMPLES]],
        says=ailment.says,
        remedy=ailment.remedy,
    )
    return _mend(patient, ailment, cases, finding) if mend else finding


def _mend(patient: Patient, ailment: Ailment, cases: list[Case], finding: Finding) -> Finding:
    trouble = ailment.doubt(patient, cases)
    if not trouble:
        try:
            ailment.mend(patient, cases)
        except ClusterError as exc:  # not raised, so that the remaining ailments are examined
            trouble = str(exc)
    remaining = len(ailment.find(patient))
    log.info("mended", ailment=ailment.name, found=len(cases), remaining=remaining)
    return replace(finding, mended=max(0, len(cases) - remaining), trouble=trouble)
