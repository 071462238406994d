"""/v1/schedules: submit jobs at the times of a cron expression or an interval.

OpenAI's API has no schedules, so this project defines the answers (``schedule_objects``). The routes show and
change the schedules of the caller's organisation. The schedules of the cluster itself belong to the
organisation ``system``; operators manage these with ``python -m data_jobs.schedules``.
"""

from datetime import UTC, datetime
from typing import Any

from fastapi import Depends, Request
from psycopg import Connection
from starlette.responses import Response

from cluster.errors import NotPermitted
from cluster.jobs.kinds import KINDS
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.schedules import schedules
from cluster.jobs.schedules.due import run_now
from cluster.jobs.schedules.runs import list_runs
from cluster.jobs.schedules.schedules import Schedule
from cluster.organisations.caller import current_caller
from cluster.submissions import accept_due
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.jobs.accepting import Submission, checked_arguments, validated
from serve_app.routes.jobs.submission import check_not_before, named_kind
from serve_app.routes.schedules.schedule_objects import (
    DeletedSchedule,
    ScheduleList,
    ScheduleObject,
    ScheduleRunList,
    ScheduleRunObject,
)
from serve_app.routes.schedules.schedule_requests import CreateScheduleRequest, UpdateScheduleRequest
from serve_app.service import Service


async def _refuse_limited_keys() -> None:
    """Refuse keys with a list of stores or models, because the jobs of a schedule run without the limits of
    the key that created the schedule.

    Raises:
        NotPermitted: the caller's key has such a list.
    """
    caller = current_caller()
    if caller.stores is not None or caller.models is not None:
        raise NotPermitted(
            f"the API key {caller.id} is limited to some stores or models, and schedules run without such "
            "limits; use a key without a list of stores and models"
        )


router = json_router(403, 404)
router.dependencies.append(Depends(_refuse_limited_keys))


@router.post(
    "/v1/schedules",
    summary="Create a schedule",
    response_model=ScheduleObject,
    responses=documented_errors(404, 409, 429),
)
async def create_schedule(
    body: CreateScheduleRequest,
    request: Request,
    service: ServiceDep,
    organisation: Organisation,
    once: Once,
) -> Response:
    """Creates a schedule of a public kind of job. The input is checked as for `POST /v1/jobs`."""
    kind, _ = named_kind(body.kind)
    timing, options = body.timing(), body.options()
    check_not_before(body.not_before)
    sent, now = await request.json(), datetime.now(UTC)

    def create(connection: Connection[Any]) -> ScheduleObject:
        limit = service.settings.organisation_schedules
        schedules.require_schedule_room(connection, organisation, limit=limit)
        arguments = _arguments(connection, service, organisation, kind, body.input, sent)
        made = schedules.create_schedule(connection, organisation, kind, timing, arguments, options=options)
        assert made is not None  # None means that the id exists, but this id is new
        return ScheduleObject.of(made, now)

    return await once(create)


@router.get("/v1/schedules", summary="List schedules")
async def get_schedules(page: PageDep, service: ServiceDep, organisation: Organisation) -> ScheduleList:
    """Lists the schedules of the caller's organisation, the newest first."""
    now = datetime.now(UTC)

    def read(connection: Connection[Any]) -> ScheduleList:
        found = schedules.list_schedules(connection, organisation, page)
        return ScheduleList.of(found, lambda one: ScheduleObject.of(one, now), lambda one: one.id)

    return await service.read(read)


@router.get("/v1/schedules/{schedule_id}", summary="Get a schedule")
async def get_schedule(schedule_id: str, service: ServiceDep, organisation: Organisation) -> ScheduleObject:
    """Shows a schedule with its next five times."""
    now = datetime.now(UTC)
    return await service.read(
        lambda connection: ScheduleObject.of(
            schedules.get_schedule(connection, organisation, schedule_id), now
        )
    )


@router.patch(
    "/v1/schedules/{schedule_id}", summary="Change a schedule", responses=documented_errors(404, 409)
)
async def update_schedule(
    schedule_id: str,
    body: UpdateScheduleRequest,
    request: Request,
    service: ServiceDep,
    organisation: Organisation,
) -> ScheduleObject:
    """Changes the given fields. When a schedule is resumed, its next time is the first time from now on."""
    check_not_before(body.not_before)
    sent, now = await request.json(), datetime.now(UTC)

    def update(connection: Connection[Any]) -> ScheduleObject:
        old = schedules.get_schedule(connection, organisation, schedule_id, lock=True)
        kind = KINDS.get(old.kind)
        arguments = None
        if body.input is not None and kind is not None:
            arguments = _arguments(connection, service, organisation, kind, body.input, sent)
        changed = schedules.update_schedule(
            connection, old, timing=body.timing(old.timing), arguments=arguments, options=body.options(old)
        )
        return ScheduleObject.of(changed, now)

    return await service.in_transaction(update)


@router.delete("/v1/schedules/{schedule_id}", summary="Delete a schedule")
async def delete_schedule(
    schedule_id: str, service: ServiceDep, organisation: Organisation
) -> DeletedSchedule:
    """Deletes a schedule and its history. Jobs that the schedule has submitted are kept."""
    await service.in_transaction(
        lambda connection: schedules.delete_schedule(connection, organisation, schedule_id)
    )
    return DeletedSchedule(id=schedule_id)


@router.post(
    "/v1/schedules/{schedule_id}/run",
    summary="Run a schedule now",
    response_model=ScheduleRunObject,
    responses=documented_errors(404, 409, 429),
)
async def run_schedule(
    schedule_id: str, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Submits a job of the schedule at once, also while the schedule is paused. The times of the schedule do
    not change.
    """

    def run(connection: Connection[Any]) -> ScheduleRunObject:
        schedule = schedules.get_schedule(connection, organisation, schedule_id)
        (run,) = run_now(connection, schedule, accept=accept_due(service.settings))
        return ScheduleRunObject.of(run)

    return await once(run)


@router.get("/v1/schedules/{schedule_id}/runs", summary="List the runs of a schedule")
async def get_schedule_runs(
    schedule_id: str, page: PageDep, service: ServiceDep, organisation: Organisation
) -> ScheduleRunList:
    """Lists the runs of a schedule, the latest first, each with the state, duration and result of its job."""

    def read(connection: Connection[Any]) -> ScheduleRunList:
        schedule: Schedule = schedules.get_schedule(connection, organisation, schedule_id)
        found = list_runs(connection, organisation, schedule.id, page)
        return ScheduleRunList.of(found, ScheduleRunObject.of, lambda run: run.id)

    return await service.read(read)


def _arguments(
    connection: Connection[Any],
    service: Service,
    organisation: str,
    kind: JobKind,
    input: dict[str, Any],
    sent: Any,
) -> dict[str, Any]:
    """Check the input of the schedule's jobs in the same way as ``POST /v1/jobs``. Return the input in the
    form that a schedule stores.

    Raises:
        ClusterError: a job with this input would be refused now.
        RequestValidationError: the input does not have the form that the kind of job needs.
    """
    assert kind.input is not None  # requests can only name kinds with an input
    submission = Submission(
        service=service,
        organisation=organisation,
        kind=kind,
        input=validated(kind.input, input, body=sent),
        body=sent,
        options={},
    )
    return checked_arguments(connection, submission)
