"""The models of the answers about profiles, segments and models of purchases.

Times are in seconds since 1970.
"""

from datetime import datetime
from typing import Any, Literal, Self

from cluster.profiles.profiles import CustomerProfileRow
from cluster.profiles.propensity.models import PropensityTraining
from cluster.profiles.segments import Segment
from serve_app.edge.response_model import ListObject, Omissible, ResponseModel
from serve_app.routes.files import unix


class ProfileValueObject(ResponseModel):
    """One value of a profile."""

    value: Any
    """The value; null if there are too few cases."""
    n: int
    """Number of cases from which the value is computed."""
    evidence: list[str]
    """Ids of the latest facts behind the value. A message or a conversation is named by its id, an event by
    its source, `#` and its id."""
    reason: Omissible[str] = None
    """Code of the reason why `value` is null, such as `insufficient_data`; left out if `n` is the reason."""


class ProfilePartObject(ResponseModel):
    """The values that are computed together."""

    version: str
    """Version of the code or of the model that computed the values."""
    as_of: int
    """Facts before this time count."""
    computed_at: int
    """Time of the computation."""
    values: dict[str, ProfileValueObject]
    """The values by name; the handbook defines each of them."""

    @classmethod
    def of(cls, part: dict[str, Any]) -> Self:
        """Show the part as the database keeps it."""
        return cls(
            version=part["version"],
            as_of=unix(datetime.fromisoformat(part["as_of"])),
            computed_at=unix(datetime.fromisoformat(part["computed_at"])),
            values={name: ProfileValueObject(**value) for name, value in sorted(part["values"].items())},
        )


class CustomerProfileObject(ResponseModel):
    """What is computed about a customer."""

    id: str
    """Id of the customer, `cust_...`."""
    object: Literal["customer.profile"] = "customer.profile"
    """Always `customer.profile`."""
    external_id: str
    """Id of the customer in the events."""
    computed_at: int
    """Time at which the latest part was computed."""
    parts: dict[str, ProfilePartObject]
    """The parts by name, such as `behaviour` and `propensity`."""

    @classmethod
    def of(cls, profile: CustomerProfileRow) -> Self:
        """Show the profile."""
        return cls(
            id=profile.customer,
            external_id=profile.external_id,
            computed_at=unix(profile.computed_at),
            parts={name: ProfilePartObject.of(part) for name, part in sorted(profile.parts.items())},
        )


class CustomerProfileList(ListObject[CustomerProfileObject]):
    """A page of profiles."""


class SegmentObject(ResponseModel):
    """A named filter on the values of profiles."""

    id: str
    """Id of the segment, `segment_...`."""
    object: Literal["segment"] = "segment"
    """Always `segment`."""
    created_at: int
    """Time at which the segment was created."""
    name: str
    """Name of the segment, for people."""
    filters: dict[str, Any]
    """The filter; empty for the segment `all`."""
    customers: Omissible[int] = None
    """Number of customers who are in the segment now; lists leave it out."""

    @classmethod
    def of(cls, segment: Segment, customers: int | None = None) -> Self:
        """Show the segment."""
        return cls(
            id=segment.id,
            created_at=unix(segment.created_at),
            name=segment.name,
            filters=dict(segment.filters),
            customers=customers,
        )


class SegmentList(ListObject[SegmentObject]):
    """A page of segments."""


class DeletedSegment(ResponseModel):
    """The answer to the deletion of a segment."""

    id: str
    """Id of the deleted segment."""
    object: Literal["segment.deleted"] = "segment.deleted"
    """Always `segment.deleted`."""
    deleted: Literal[True] = True
    """Always true."""


class ModelScoreObject(ResponseModel):
    """How well a model predicts the later period."""

    auc: float
    """Area under the receiver operating characteristic."""
    brier: float
    """Mean squared difference of the probability and the outcome."""
    log_loss: float
    """Mean negative logarithm of the probability of what happened."""


class CalibrationBinObject(ResponseModel):
    """Customers with similar probabilities."""

    n: int
    """Number of customers."""
    predicted: float
    """Mean probability."""
    observed: float
    """Share of the customers who bought."""


class MissingDataObject(ResponseModel):
    """A condition that the data do not meet."""

    name: Literal["history_days", "customers_who_bought", "customers_who_did_not_buy"]
    """What is missing."""
    period: Literal["training", "validation"]
    """The period in which it is missing."""
    needed: float
    """The smallest number that is enough."""
    found: float
    """The number that was found."""


class PropensityModelObject(ResponseModel):
    """One training of the model of purchases."""

    id: str
    """Version of the model, as profiles name it."""
    object: Literal["propensity_model"] = "propensity_model"
    """Always `propensity_model`."""
    created_at: int
    """Time up to which purchases count."""
    state: Literal["trained", "insufficient_data"]
    """`trained`, or `insufficient_data` if there are too few customers or too short a history."""
    window_days: float
    """Length in days of the period whose purchases the model predicts."""
    train_at: int
    """The models that are compared learned from purchases before this time, and of the period after it."""
    later_at: int
    """The models are compared on the period after this time."""
    chosen: Omissible[Literal["logistic_regression", "gradient_boosting"]] = None
    """The algorithm of the model."""
    models: Omissible[dict[str, ModelScoreObject]] = None
    """Scores of `logistic_regression`, `gradient_boosting` and of the baseline `recency_only`, on the later
    period."""
    calibration: Omissible[list[CalibrationBinObject]] = None
    """The customers of the later period in order of their probability, in ten parts of equal size."""
    drivers: Omissible[dict[str, float]] = None
    """Mean absolute effect of each feature on the log-odds, the largest first."""
    train_n: Omissible[int] = None
    """Number of customers from whom the compared models learned."""
    train_bought: Omissible[int] = None
    """Number of those customers who bought in the period."""
    later_n: Omissible[int] = None
    """Number of customers on whom the models are compared."""
    later_bought: Omissible[int] = None
    """Number of those customers who bought in the later period."""
    missing: Omissible[list[MissingDataObject]] = None
    """With insufficient data: each condition that the data do not meet."""

    @classmethod
    def of(cls, training: PropensityTraining) -> Self:
        """Show the training without its parameters."""
        return cls(
            id=training.version,
            created_at=unix(training.trained_at),
            state=training.state,
            **{
                **training.report,
                "train_at": unix(datetime.fromisoformat(training.report["train_at"])),
                "later_at": unix(datetime.fromisoformat(training.report["later_at"])),
            },
        )


class PropensityModelList(ResponseModel):
    """The latest trainings."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[PropensityModelObject]
    """At most 10 trainings, the newest first."""
