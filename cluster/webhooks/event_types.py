"""The table of event types. To add a type, add a row here, and record the events of this type.

Code records an event with ``deliveries.record_event`` in the transaction that ends the work. For jobs,
batches and attached files, triggers of the database record the events (migrations 0020 and 0029).
"""

from collections.abc import Mapping
from types import MappingProxyType

#: Each event type, with the sentence that the handbook shows. OpenAI's types have OpenAI's names.
EVENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "batch.completed": "Every request of a batch has an answer.",
        "batch.failed": "The input file of a batch is wrong, or the batch's job failed.",
        "batch.expired": "The completion window of a batch ended before every request had an answer.",
        "batch.cancelled": "A batch was cancelled, and its files are written.",
        "vector_store.file.completed": "A file that was attached to a vector store is searchable.",
        "vector_store.file.failed": "A file that was attached to a vector store could not be indexed.",
        "job.succeeded": "A job ended with success.",
        "job.failed": "A job ended without success.",
        "job.cancelled": "A job was cancelled.",
        "job.dead_lettered": "A job failed at its last attempt, after errors that another attempt might have "
        "solved.",
        "ingest.completed": "A bulk ingest ended; its result says how many documents are searchable.",
        "ingest.failed": "A bulk ingest ended early, because of an error.",
        "ingest.cancelled": "A bulk ingest was cancelled.",
        "vector_store.copy.completed": "A vector store was copied into another one.",
        "vector_store.copy.failed": "A copy of a vector store ended early, because of an error.",
        "vector_store.copy.cancelled": "A copy of a vector store was cancelled.",
        "event_import.completed": "A file of events was imported; the result counts the rows.",
        "event_import.failed": "An import of events failed, or found too many wrong rows.",
        "event_import.cancelled": "An import of events was cancelled.",
        "schedule.failed": "A job of a schedule failed, or was refused and not submitted.",
        "schedule.disabled": "A schedule was disabled, because its times can no longer be computed.",
        "budget.warning": "An organisation has used the part of a budget at which it wants to be warned.",
        "budget.exceeded": "A budget refused work for the first time in its period.",
        "usage_report.completed": "A usage report is completed; `data.state` is `draft` or `final`.",
        "usage_report.failed": "A usage report could not be made.",
    }
)
