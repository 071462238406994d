"""The facts that say from which container a document comes, for searches with filters.

place_facts(EntryPlace(container_name="mails.zip", path="2026/a.eml"))
"""

from cluster.documents.containers.container_entries import EntryPlace
from cluster.records import MAX_FACT_LENGTH, Fact


def place_facts(place: EntryPlace | None) -> dict[Fact, str | float | bool]:
    """Return the container and the path of a document; no facts for a document that is no entry."""
    if place is None:
        return {}
    return {Fact.CONTAINER: place.container_name[:MAX_FACT_LENGTH], Fact.PATH: place.path[:MAX_FACT_LENGTH]}
