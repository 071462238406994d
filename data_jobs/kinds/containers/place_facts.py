"""Make the facts that name the container of a document and the path of the document in the container. Filters
of searches can test these facts.

place_facts(EntryPlace(container_name="mails.zip", path="2026/a.eml"))
"""

from cluster.documents.containers.container_entries import EntryPlace
from cluster.records import MAX_FACT_LENGTH, Fact


def place_facts(place: EntryPlace | None) -> dict[Fact, str | float | bool]:
    """Return the facts for a place, with texts of at most ``MAX_FACT_LENGTH`` characters. Return no facts if
    the place is None, because the document is no entry of a container.
    """
    if place is None:
        return {}
    return {Fact.CONTAINER: place.container_name[:MAX_FACT_LENGTH], Fact.PATH: place.path[:MAX_FACT_LENGTH]}
