"""Defines the models of the answers of /v1/overview and /v1/caller."""

from dataclasses import asdict
from typing import Literal, Self

from cluster.analytics.overview.overview import Overview
from cluster.jobs.figures import LATELY_S
from cluster.jobs.jobs import PriorityClass
from cluster.organisations.caller import Caller, Scope
from serve_app.edge.response_model import ResponseModel
from serve_app.fleet.fleet_state import FleetState


class CallerObject(ResponseModel):
    """The caller of this request."""

    object: Literal["caller"] = "caller"
    """Always `caller`."""
    kind: str
    """`key` for the key of an organisation, `token` for a token of the issuer, `operator` for the operator's
    key, or `keyless` for a request without a key."""
    id: str
    """Id of the key, or subject of the token; for other kinds of callers the same as `kind`."""
    organisation: str
    """Id of the organisation that the request acts for."""
    scopes: list[Scope]
    """The scopes of the caller: `read`, `write` and `admin`."""
    operator: bool
    """True if the caller operates the cluster, and may use the routes about all organisations."""

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """Convert the caller into the object that answers contain."""
        return cls(
            kind=caller.kind,
            id=caller.id,
            organisation=caller.organisation,
            scopes=sorted(caller.scopes),
            operator=caller.operates,
        )


class QueueObject(ResponseModel):
    """The jobs of one priority class."""

    priority_class: PriorityClass
    """`high`, `medium`, `low` or `scheduled`."""
    queued: int
    """Number of jobs that wait."""
    running: int
    """Number of jobs that run."""
    oldest_wait_s: float
    """Seconds that the oldest queued job has waited since it could have begun; 0 if no job waits."""


class KindObject(ResponseModel):
    """The jobs of one kind."""

    kind: str
    """Name of the kind."""
    queued: int
    """Number of jobs that wait."""
    running: int
    """Number of jobs that run."""
    succeeded: int
    """Number of jobs that succeeded within `window_s`."""
    failed: int
    """Number of jobs that failed within `window_s`."""
    cancelled: int
    """Number of jobs that were cancelled within `window_s`."""
    dead_letters: int
    """Number of dead letters: failed jobs that were not retried."""


class EndedObject(ResponseModel):
    """Numbers of jobs that ended within `window_s`."""

    succeeded: int
    """Number of jobs that succeeded."""
    failed: int
    """Number of jobs that failed."""
    cancelled: int
    """Number of jobs that were cancelled."""


class DeploymentObject(ResponseModel):
    """The replicas of one deployment."""

    name: str
    """Name of the deployment."""
    running: int
    """Number of replicas that accept work."""
    starting: int
    """Number of replicas that start."""
    stopping: int
    """Number of replicas that finish their work and then end."""


class FleetResource(ResponseModel):
    """One resource of all nodes."""

    name: str
    """`CPU` or `GPU`."""
    used: float
    """How much of the resource is granted to processes."""
    total: float
    """How much of the resource all nodes have."""


class FleetObject(ResponseModel):
    """What executes the work."""

    worker_slots: int
    """Number of groups of slots that take jobs. A worker has one group for each priority class, one group of
    shared slots, and one group for webhooks."""
    nodes: int | None
    """Number of nodes; null if Ray does not answer."""
    deployments: list[DeploymentObject]
    """The deployments and their replicas."""
    resources: list[FleetResource]
    """The processors of all nodes, and how many of them are granted."""

    @classmethod
    def of(cls, worker_slots: int, fleet: FleetState | None) -> Self:
        """Convert the state of the fleet into the object that answers contain."""
        if fleet is None:
            return cls(worker_slots=worker_slots, nodes=None, deployments=[], resources=[])
        return cls(
            worker_slots=worker_slots,
            nodes=fleet.nodes,
            deployments=[DeploymentObject(**asdict(one)) for one in fleet.deployments],
            resources=[FleetResource(**asdict(one)) for one in fleet.resources],
        )


class OverviewObject(ResponseModel):
    """The jobs, the embedded tokens and the fleet at one moment."""

    object: Literal["overview"] = "overview"
    """Always `overview`."""
    scope: Literal["organisation", "cluster"]
    """What the numbers are about: the caller's `organisation`, or the whole `cluster`."""
    window_s: float
    """Length of the window, in seconds, that ends now and in which ended jobs and tokens are counted."""
    queues: list[QueueObject]
    """The jobs of each priority class."""
    kinds: list[KindObject]
    """The jobs of each kind that has jobs."""
    dead_letters: int
    """Number of dead letters: failed jobs that were not retried."""
    ended: EndedObject
    """Numbers of jobs that ended within the window."""
    tokens_per_s: float
    """Mean number of tokens that were embedded in each second of the window."""
    fleet: FleetObject | None
    """What executes the work; null unless `scope` is `cluster`."""

    @classmethod
    def of(
        cls, overview: Overview, scope: Literal["organisation", "cluster"], fleet: FleetState | None
    ) -> Self:
        """Convert the figures into the object that answers contain."""
        kinds = overview.kinds.values()
        return cls(
            scope=scope,
            window_s=LATELY_S,
            queues=[
                QueueObject(
                    priority_class=one,
                    queued=figures.queued,
                    running=figures.running,
                    oldest_wait_s=round(figures.oldest_wait_s, 1),
                )
                for one, figures in overview.queues.items()
            ],
            kinds=[KindObject(kind=kind, **asdict(figures)) for kind, figures in overview.kinds.items()],
            dead_letters=sum(one.dead_letters for one in kinds),
            ended=EndedObject(
                succeeded=sum(one.succeeded for one in kinds),
                failed=sum(one.failed for one in kinds),
                cancelled=sum(one.cancelled for one in kinds),
            ),
            tokens_per_s=round(overview.tokens / LATELY_S, 2),
            fleet=FleetObject.of(overview.worker_slots, fleet) if scope == "cluster" else None,
        )
