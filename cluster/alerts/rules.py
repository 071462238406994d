"""Defines the rules of all alerts, for Prometheus and for the built-in alerter.

To add a rule, add an ``AlertRule`` to ``_RULES``, and write cluster/deploy/alerts.yaml again with the output
of ``python -m cluster.alerts.prometheus``. Then add a section about the rule to docs/runbook.md, and a cause
of the alert to tests/cluster/alerts/test_causes.py and tests/cluster/deploy/test_alerts.py.

    RULES["DeadLetters"].breaches(facts)              # {("crawl",): 3.0}
"""

from dataclasses import dataclass
from typing import Literal

from cluster.alerts.facts import Facts
from cluster.alerts.measures import (
    DATABASE_AWAY,
    FAILED_JOB_SHARE,
    FAILED_JOBS,
    FAILED_REQUEST_SHARE,
    FREE_DISK,
    OLDEST_URGENT_WAIT,
    ROLLUP_DIFFERENCES,
    ROLLUP_LAG,
    SCHEDULE_LAG,
    UNAVAILABLE_PROVIDERS,
    UNHEALTHY_REPLICAS,
    UNSENT_USAGE,
    USAGE_IN_MEMORY,
    USED_UP,
    Measure,
    Values,
)

Severity = Literal["critical", "warning"]


@dataclass(frozen=True, slots=True)
class Limit:
    """Defines a limit on a measure. A value breaks the limit if the value is above the limit. If ``below`` is
    true, a value breaks the limit if the value is below the limit.
    """

    measure: Measure
    value: float
    below: bool = False

    def breaches(self, facts: Facts) -> Values:
        """Return the values that break the limit, by the values of their labels."""
        return {
            labels: value
            for labels, value in self.measure.read(facts).items()
            if (value < self.value if self.below else value > self.value)
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertRule:
    """Defines the condition of an alert, how long the condition must last, and the texts for a person.

    ``summary`` and ``description`` can contain the names of labels in braces, such as ``{kind}``.
    """

    name: str
    #: The alert fires if at least one of these limits is broken. The measures of all limits have the same
    #: labels.
    limits: tuple[Limit, ...]
    #: Seconds for which a limit must be broken before the alert fires.
    for_s: int
    severity: Severity
    summary: str
    description: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels of the alert."""
        return self.limits[0].measure.labels

    def breaches(self, facts: Facts) -> Values:
        """Return the values that break a limit, by the values of their labels. For labels with several broken
        limits, return the value of the first of these limits.
        """
        found = dict[tuple[str, ...], float]()
        for limit in reversed(self.limits):
            found |= limit.breaches(facts)
        return found


_RULES = (
    AlertRule(
        name="JobsFail",
        limits=(Limit(FAILED_JOB_SHARE, 0.1),),
        for_s=120,
        severity="critical",
        summary="More than a tenth of the jobs of the last 15 minutes failed.",
        description='Run curl "$URL/v1/jobs?state=failed" to see their errors, and python -m cluster.doctor '
        "to see the parts that are not healthy.",
    ),
    AlertRule(
        name="DeadLetters",
        limits=(Limit(FAILED_JOBS, 0),),
        for_s=0,
        severity="warning",
        summary="Jobs of the kind {kind} failed after their last attempt.",
        description='Run curl "$URL/v1/jobs?state=failed&kind={kind}" to see their errors. Queue them again '
        "with POST /v1/jobs/retry when the cause is gone.",
    ),
    AlertRule(
        name="UrgentJobsWait",
        limits=(Limit(OLDEST_URGENT_WAIT, 60),),
        for_s=60,
        severity="critical",
        summary="A job with high priority has waited for more than a minute.",
        description="Too few workers are alive, or all their slots are busy. Raise CLUSTER_MAX_WORKERS or "
        "CLUSTER_WORKER_SLOTS_HIGH.",
    ),
    AlertRule(
        name="RollupsAreLate",
        limits=(Limit(ROLLUP_LAG, 7_200),),
        for_s=300,
        severity="warning",
        summary="Statistics are more than two hours behind.",
        description="Run python -m cluster.doctor to see whether the hourly schedule runs, and why its jobs "
        "fail.",
    ),
    AlertRule(
        name="RollupsDiffer",
        limits=(Limit(ROLLUP_DIFFERENCES, 0),),
        for_s=0,
        severity="warning",
        summary="Roll-ups differ from the facts that they sum, so statistics or bills are wrong.",
        description="Run python -m cluster.doctor to see the windows, and python -m cluster.doctor --mend to "
        "compute them again.",
    ),
    AlertRule(
        name="SchedulesAreLate",
        limits=(Limit(SCHEDULE_LAG, 300),),
        for_s=60,
        severity="critical",
        summary="A schedule is more than five minutes late, so no worker is alive or each worker is busy.",
        description="Run python -m cluster.doctor to see the parts that are not healthy.",
    ),
    AlertRule(
        name="ReplicaUnhealthy",
        limits=(Limit(UNHEALTHY_REPLICAS, 0),),
        for_s=120,
        severity="critical",
        summary="A replica of {deployment} fails its health checks.",
        description="Serve replaces it. If this repeats, the log of the replica says why (serve status, "
        "CLUSTER_HOME/logs).",
    ),
    AlertRule(
        name="EndpointFails",
        limits=(Limit(FAILED_REQUEST_SHARE, 0.05),),
        for_s=120,
        severity="critical",
        summary="More than a twentieth of the requests of the last five minutes failed.",
        description="GET /readyz names the part that does not answer, and python -m cluster.doctor says what "
        "to do.",
    ),
    AlertRule(
        name="DatabaseAway",
        limits=(Limit(DATABASE_AWAY, 60),),
        for_s=0,
        severity="critical",
        summary="A process of the cluster has not reached the database for more than a minute.",
        description="Check that Postgres runs, and that the network between the nodes and Postgres works. "
        "GET /readyz says what each replica reaches.",
    ),
    AlertRule(
        name="ResourceUsedUp",
        limits=(Limit(USED_UP, 0),),
        for_s=60,
        severity="critical",
        summary="The resource {resource} is used up, and work waits for it.",
        description="Free some room. Work continues by itself, and nothing that was accepted is lost.",
    ),
    AlertRule(
        name="DiskNearlyFull",
        limits=(Limit(FREE_DISK, 0.1, below=True),),
        for_s=300,
        severity="warning",
        summary="Less than a tenth of the disk of {node} is free.",
        description="Remove old logs and files under CLUSTER_HOME, or give the node a larger disk. Ray stops "
        "to start tasks at 95%.",
    ),
    AlertRule(
        name="ProviderUnavailable",
        limits=(Limit(UNAVAILABLE_PROVIDERS, 0),),
        for_s=300,
        severity="warning",
        summary="A remote provider fails repeatedly, so no process calls it for now.",
        description="GET /readyz names the provider. Jobs wait for it, and continue by themselves.",
    ),
    AlertRule(
        name="UsageWaits",
        limits=(Limit(UNSENT_USAGE, 600), Limit(USAGE_IN_MEMORY, 0)),
        for_s=60,
        severity="warning",
        summary="The usage of requests waits for the database for more than ten minutes, or is only in "
        "memory.",
        description="Check the database and the disk of the replica. Usage in files is sent when the "
        "database answers again.",
    ),
)

#: All rules by name, in the order of alerts.yaml and the runbook.
RULES = {rule.name: rule for rule in _RULES}
