"""Defines the quantities that the rules of alerts compare with limits.

A measure has two forms with the same meaning: a PromQL expression over our metrics, and a function of the
facts that the built-in alerter reads. Both forms give one value for each combination of labels. Every replica
publishes the same figures about the whole cluster, so the PromQL expressions over these figures take the
maximum of the replicas' values.

    OLDEST_URGENT_WAIT.query                          # 'max(ray_embedding_job_oldest_wait_seconds{...})'
    OLDEST_URGENT_WAIT.read(facts)                    # {(): 75.0}
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cluster.alerts.facts import Facts
from cluster.jobs.jobs import PriorityClass

#: If fewer jobs than this failed, the share of failed jobs counts as 0.
MIN_FAILED_JOBS = 5
ENDED = "ray_embedding_jobs_ended_lately"
REQUESTS = "ray_serve_num_http_requests_total"
DISK_FREE, DISK_USED = "ray_node_disk_free", "ray_node_disk_usage"

#: The values of a measure. Each key has the values of the labels, in the order of ``Measure.labels``.
Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """Describes how to measure one quantity of the cluster, such as the share of failed jobs."""

    #: PromQL expression. Its results have the labels ``labels``.
    query: str
    #: Computes the same values as ``query``, but from the facts.
    read: Callable[[Facts], Values]
    #: Names of the labels of the values.
    labels: tuple[str, ...] = ()


def _one(query: str, read: Callable[[Facts], float]) -> Measure:
    return Measure(query=query, read=lambda facts: {(): read(facts)})


def _failed_job_share(facts: Facts) -> float:
    ended = Counter[str]()
    for (_, state), count in facts.jobs.ended.items():
        ended[state] += count
    failed = ended["failed"]
    return failed / (failed + ended["succeeded"]) if failed >= MIN_FAILED_JOBS else 0.0


def _failed_jobs(facts: Facts) -> Values:
    return {(kind,): float(count) for (kind, state), count in facts.jobs.ended.items() if state == "failed"}


def _unhealthy(facts: Facts) -> Values:
    counts = Counter(report.deployment for report in facts.reports if not report.works)
    return {(deployment,): float(count) for deployment, count in counts.items()}


def _failed_request_share(facts: Facts) -> float:
    working = [report for report in facts.reports if report.works]
    requests = sum(report.requests for report in working)
    return sum(report.failed_requests for report in working) / requests if requests else 0.0


def _free_disk(facts: Facts) -> Values:
    free = dict[tuple[str, ...], float]()
    for report in facts.reports:
        if report.works:
            free[report.node,] = min(free.get((report.node,), 1.0), report.disk_free_share)
    return free


def _used_up(facts: Facts) -> Values:
    return {(resource,): 1.0 for resource in facts.short}


FAILED_JOB_SHARE = _one(
    f'sum(max by (kind) ({ENDED}{{state="failed"}}))'
    f' / sum(max by (kind, state) ({ENDED}{{state=~"failed|succeeded"}}))'
    f' and sum(max by (kind) ({ENDED}{{state="failed"}})) >= {MIN_FAILED_JOBS}',
    _failed_job_share,
)
FAILED_JOBS = Measure(query=f'max by (kind) ({ENDED}{{state="failed"}})', labels=("kind",), read=_failed_jobs)
OLDEST_URGENT_WAIT = _one(
    'max(ray_embedding_job_oldest_wait_seconds{priority_class="high"})',
    lambda facts: facts.jobs.oldest_wait_s.get(PriorityClass.HIGH.value, 0.0),
)
ROLLUP_LAG = _one("max(ray_embedding_rollup_lag_seconds)", lambda facts: facts.rollup_lag_s)
ROLLUP_DIFFERENCES = _one("max(ray_embedding_rollup_differences)", lambda facts: facts.rollup_differences)
SCHEDULE_LAG = _one("max(ray_embedding_schedule_lag_seconds)", lambda facts: facts.schedule_lag_s)
UNHEALTHY_REPLICAS = Measure(
    query="count by (deployment) (ray_serve_deployment_replica_healthy < 1)",
    labels=("deployment",),
    read=_unhealthy,
)
FAILED_REQUEST_SHARE = _one(
    f'sum(rate({REQUESTS}{{status_code=~"5.."}}[5m])) / sum(rate({REQUESTS}[5m]))', _failed_request_share
)
USED_UP = Measure(query="max by (resource) (ray_embedding_short)", labels=("resource",), read=_used_up)
FREE_DISK = Measure(
    query=f"label_replace(min by (ip) ({DISK_FREE} / ({DISK_FREE} + {DISK_USED}))"
    ', "node", "$1", "ip", "(.*)")',
    labels=("node",),
    read=_free_disk,
)
UNAVAILABLE_PROVIDERS = _one(
    "max(ray_embedding_providers_unavailable)", lambda facts: float(facts.unavailable_providers)
)
DATABASE_AWAY = _one("max(ray_embedding_database_away_seconds)", lambda facts: facts.database_away_s)
UNSENT_USAGE = _one(
    "max(ray_embedding_usage_unsent_seconds)",
    lambda facts: max((report.usage_unsent_s for report in facts.reports if report.works), default=0.0),
)
USAGE_IN_MEMORY = _one(
    "max(ray_embedding_usage_only_in_memory)",
    lambda facts: float(any(report.usage_only_in_memory for report in facts.reports if report.works)),
)
