"""Map each kind of job to the code that runs it, with one row for each kind.

``cluster.jobs.kinds`` defines the other properties of each kind.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from cluster.jobs.kinds import (
    BULK_INSERT_VECTORS,
    CRAWL,
    CREATE_AGENTS,
    DELETE_ORGANISATION,
    DELETE_STORE,
    DELIVER_WEBHOOKS,
    DISCOVER,
    EMBED_BATCH,
    ENRICH_CUSTOMER_PROFILE,
    ERASE_CUSTOMER,
    ESTIMATE_QUALITY,
    IMPORT_EVENTS,
    INDEX_FILE,
    INGEST_FILES,
    PRECOMPUTE_CONTEXTS,
    RECHUNK_STORE,
    USAGE_REPORT,
)
from cluster.jobs.kinds.upkeep_kinds import (
    ARCHIVE_JOBS,
    COMPUTE_DAILY_ANALYTICS,
    COMPUTE_HOURLY_STATS,
    DELETE_OLD_PLATFORM_DATA,
    DISCARD_UNFINISHED,
    EMPTY_OUTBOX,
    EXPIRE,
    MEASURE_STORAGE,
    RECONCILE_ANALYTICS,
    RENEW_WORDS,
    USAGE_REPORTS,
)
from data_jobs.kinds.agents.create_agents import CreateAgents
from data_jobs.kinds.agents.precompute_contexts import PrecomputeContexts
from data_jobs.kinds.analytics.rollup_jobs import (
    compute_daily_analytics,
    compute_hourly_stats,
    delete_old_platform_data,
    reconcile_analytics,
)
from data_jobs.kinds.bulk_insert_vectors import BulkInsertVectors
from data_jobs.kinds.crawls.crawl_site import CrawlSite
from data_jobs.kinds.delete_organisation import DeleteOrganisation
from data_jobs.kinds.delete_store import DeleteStore
from data_jobs.kinds.deliver_webhooks import DeliverWebhooks
from data_jobs.kinds.embed_batch import EmbedBatch
from data_jobs.kinds.erase_customer import EraseCustomer
from data_jobs.kinds.estimate_quality import EstimateQuality
from data_jobs.kinds.import_events import ImportEvents
from data_jobs.kinds.index_file import IndexFile
from data_jobs.kinds.ingest_files import IngestFiles
from data_jobs.kinds.profiles.enrich_customer_profile import EnrichCustomerProfile
from data_jobs.kinds.resources import Resources
from data_jobs.kinds.stores.rechunk_store import RechunkStore
from data_jobs.kinds.upkeep import (
    Upkeep,
    archive_jobs,
    discard_unfinished,
    empty_outbox,
    expire,
    measure_storage,
    renew_old_words,
)
from data_jobs.kinds.usage_report import MakeUsageReport, MakeUsageReports
from data_jobs.worker.job_attempt import JobFunction

#: For each name of a kind: a callable that makes the function that runs jobs of this kind.
FUNCTIONS: Mapping[str, Callable[[Resources], JobFunction]] = MappingProxyType(
    {
        INDEX_FILE.name: IndexFile,
        DELETE_STORE.name: DeleteStore,
        DELETE_ORGANISATION.name: DeleteOrganisation,
        ERASE_CUSTOMER.name: EraseCustomer,
        INGEST_FILES.name: IngestFiles,
        RECHUNK_STORE.name: RechunkStore,
        CRAWL.name: CrawlSite,
        DISCOVER.name: CrawlSite,
        CREATE_AGENTS.name: CreateAgents,
        PRECOMPUTE_CONTEXTS.name: PrecomputeContexts,
        BULK_INSERT_VECTORS.name: BulkInsertVectors,
        IMPORT_EVENTS.name: ImportEvents,
        EMBED_BATCH.name: EmbedBatch,
        DELIVER_WEBHOOKS.name: DeliverWebhooks,
        ESTIMATE_QUALITY.name: EstimateQuality,
        ENRICH_CUSTOMER_PROFILE.name: EnrichCustomerProfile,
        USAGE_REPORT.name: MakeUsageReport,
        USAGE_REPORTS.name: MakeUsageReports,
        EMPTY_OUTBOX.name: partial(Upkeep, empty_outbox),
        EXPIRE.name: partial(Upkeep, expire),
        RENEW_WORDS.name: partial(Upkeep, renew_old_words),
        ARCHIVE_JOBS.name: partial(Upkeep, archive_jobs),
        DISCARD_UNFINISHED.name: partial(Upkeep, discard_unfinished),
        MEASURE_STORAGE.name: partial(Upkeep, measure_storage),
        COMPUTE_HOURLY_STATS.name: partial(Upkeep, compute_hourly_stats),
        COMPUTE_DAILY_ANALYTICS.name: partial(Upkeep, compute_daily_analytics),
        RECONCILE_ANALYTICS.name: partial(Upkeep, reconcile_analytics),
        DELETE_OLD_PLATFORM_DATA.name: partial(Upkeep, delete_old_platform_data),
    }
)


def open_kinds(resources: Resources) -> dict[str, JobFunction]:
    """Make the functions that run jobs. Return, for each name of a kind, the function."""
    return {name: make(resources) for name, make in FUNCTIONS.items()}
