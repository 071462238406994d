"""A window is open in its hours of its days, on the clock of its time zone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cluster.errors import InvalidInput
from cluster.jobs.schedules.run_window import RunWindow

NIGHT = {"begins": "22:00", "ends": "06:00", "time_zone": "Europe/Berlin"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("window", "asked", "expected"),
    [
        (NIGHT, "2026-11-24T23:00+01:00", "2026-11-24T23:00+01:00"),
        (NIGHT, "2026-11-25T05:59+01:00", "2026-11-25T05:59+01:00"),
        (NIGHT, "2026-11-25T06:00+01:00", "2026-11-25T22:00+01:00"),
        (NIGHT, "2026-11-25T21:59+01:00", "2026-11-25T22:00+01:00"),
        ({**NIGHT, "days": ("fri",)}, "2026-11-28T05:00+01:00", "2026-11-28T05:00+01:00"),
        ({**NIGHT, "days": ("fri",)}, "2026-11-28T07:00+01:00", "2026-12-04T22:00+01:00"),
        ({**NIGHT, "ends": "22:00", "days": ("sat",)}, "2026-11-29T21:00+01:00", "2026-11-29T21:00+01:00"),
        ({**NIGHT, "ends": "23:00"}, "2026-11-24T23:30+01:00", "2026-11-25T22:00+01:00"),
        # clocks go forward on 29 March 2026 at 02:00, and back on 25 October at 03:00
        ({**NIGHT, "begins": "02:30", "ends": "05:00"}, "2026-03-29T01:00+01:00", "2026-03-29T03:30+02:00"),
        ({**NIGHT, "begins": "02:30", "ends": "03:15"}, "2026-03-29T01:00+01:00", "2026-03-30T02:30+02:00"),
        (
            {**NIGHT, "begins": "02:30", "ends": "03:15", "days": ("sun",)},
            "2026-03-29T01:00+01:00",
            "2026-04-05T02:30+02:00",
        ),
        (NIGHT, "2026-10-25T05:30+01:00", "2026-10-25T05:30+01:00"),
    ],
)
def test_a_job_begins_when_its_window_is_open(window: dict[str, Any], asked: str, expected: str) -> None:
    found = RunWindow(**window).opening(at(asked))
    assert found == at(expected)
    assert RunWindow.of(RunWindow(**window).json()).opening(found.astimezone(UTC)) == found


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"begins": "24:00"}, "window.from"),
        ({"ends": "6:00"}, "window.to"),
        ({"days": ("monday",)}, "window.days"),
        ({"days": ()}, "window.days"),
        ({"time_zone": "Mars/Olympus"}, "window.time_zone"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(change: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RunWindow(**{**NIGHT, **change})
    assert refused.value.param == param
