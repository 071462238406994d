"""The window of a job in requests and answers: the hours and days in which the job may begin.

class SubmitRequest(RequestModel):
    window: WindowRequest | None = None
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from cluster.jobs.schedules.run_window import DAYS, RunWindow
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.response_model import ResponseModel
from serve_app.messages import must, quoted

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
FIELDS = frozenset({"from", "to", "time_zone", "days"})


class WindowRequest(RequestModel):
    """The hours in which a job may begin. A job that has begun continues after its window has closed."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, given: Any) -> Any:
        """Refuse unknown fields, because the job would begin at other times if a misspelled field were
        ignored.
        """
        unknown = sorted(set(given) - FIELDS) if isinstance(given, dict) else []
        if unknown:
            raise must(f"have only the fields from, to, time_zone and days; remove {quoted(unknown[0])}")
        return given

    begins: Annotated[Text, Field(alias="from")]
    """Time of day at which the window opens, such as `22:00`."""
    ends: Annotated[Text, Field(alias="to")]
    """Time of day at which the window closes, on the next day if it is not later than `from`."""
    time_zone: Text = "UTC"
    """IANA name of the time zone of both times."""
    days: Annotated[list[Day], Field(min_length=1, max_length=len(DAYS))] | None = None
    """The days on which the window opens; by default, all days."""

    def window(self) -> RunWindow:
        """Return the window.

        Raises:
            InvalidInput: a time of day or the time zone is wrong.
        """
        days = DAYS if self.days is None else tuple(day for day in DAYS if day in self.days)
        return RunWindow(begins=self.begins, ends=self.ends, time_zone=self.time_zone, days=days)


class WindowObject(ResponseModel):
    """The hours in which a job may begin."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    begins: Annotated[str, Field(alias="from")]
    """Time of day at which the window opens."""
    ends: Annotated[str, Field(alias="to")]
    """Time of day at which the window closes, on the next day if it is not later than `from`."""
    time_zone: str
    """IANA name of the time zone of both times."""
    days: list[str]
    """The days on which the window opens."""

    @classmethod
    def of(cls, window: Mapping[str, Any]) -> Self:
        """Convert a window from the form in the database into the object that answers contain."""
        return cls.model_validate(dict(window))
