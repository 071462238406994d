"""Decides which vector stores hold the sources of agents, so that a shared source is embedded once.

Agents that know the same sources share a store. An agent never searches a store that holds a source that it
does not know. ``knowledge.plan`` reads the present places from the database and calls ``place``.

    place({"a": {"handbook", "page a"}, "b": {"handbook"}}, present=[])
    # a finds the handbook in the first new store and its page in the second; b searches only the first
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

#: Maximum number of stores that hold the sources of one agent, because a search of many stores is slow. An
#: agent that shares sources with more groups of agents has its own copies of the other shared sources.
MAX_STORES = 16
#: For each source of an agent, the store in which the agent finds the source.
Places = dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePlace:
    """Says that an agent finds a source in a store."""

    agent: str
    source: str
    store: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """The places of the sources of some agents."""

    #: For each agent, where it finds its sources.
    places: Mapping[str, Places]
    #: For each new store, the agents that search it. ``places`` names new stores by these keys.
    new_stores: Mapping[str, frozenset[str]]


def place(wanted: Mapping[str, Collection[str]], present: Iterable[SourcePlace]) -> Placement:
    """Return a place for each source of each agent.

    If an agent knows every source in a present store, the agent finds these sources there. A source that some
    agents find in no such store goes into the store that exactly these agents search, or into a new store.

    Args:
        wanted: for each agent that changes, the sources that it is to know.
        present: the present places of all agents in the stores that these agents use or that hold these
            sources.
    """
    knows = {agent: frozenset(sources) for agent, sources in wanted.items()}
    others, own = _split(present, knows)
    contents = _contents(others, own, knows)
    holders: dict[str, list[str]] = defaultdict(list)
    for store, content in contents.items():
        for source in content:
            holders[source].append(store)
    places: dict[str, Places] = {agent: {} for agent in knows}
    users = {store: {agent for agent, _ in pairs} for store, pairs in others.items()}
    lacking: dict[str, list[str]] = defaultdict(list)
    for agent in sorted(knows):
        mine = own.get(agent, {})
        candidates = {store for source in knows[agent] for store in holders.get(source, ())}
        fitting = [store for store in candidates if contents[store] <= knows[agent]]
        for store in sorted(fitting, key=lambda one: (one not in mine, -len(contents[one]), one)):
            found = contents[store] - places[agent].keys()
            places[agent] |= dict.fromkeys(found, store)
            if found:
                users.setdefault(store, set()).add(agent)
        for source in knows[agent] - places[agent].keys():
            lacking[source].append(agent)
    for agent, stores in own.items():  # an emptied store can take other sources of the same agents
        for store in stores.keys() - contents.keys():
            users.setdefault(store, set()).add(agent)
    return _with_new_stores(places, users, lacking)


def _with_new_stores(
    places: dict[str, Places], users: Mapping[str, set[str]], lacking: Mapping[str, list[str]]
) -> Placement:
    """Give a store to each source that some agents lack: the store of exactly these agents, or a new one.
    Then move the sources of an agent that exceed ``MAX_STORES`` into a store of this agent alone.
    """
    groups: dict[frozenset[str], list[str]] = defaultdict(list)
    for source in sorted(lacking):
        groups[frozenset(lacking[source])].append(source)
    store_of = {frozenset(agents): store for store, agents in sorted(users.items(), reverse=True)}
    new_stores: dict[str, frozenset[str]] = {}

    def put(agents: frozenset[str], sources: Iterable[str]) -> None:
        if agents not in store_of:
            store_of[agents] = f"new {len(new_stores)}"
            new_stores[store_of[agents]] = agents
        for agent in agents:
            places[agent] |= dict.fromkeys(sources, store_of[agents])

    for agents, sources in groups.items():
        put(agents, sources)
    for agent in places:
        alone = frozenset([agent])
        if beyond := _beyond_limit(places[agent], store_of.get(alone)):
            put(alone, beyond)
    used = {store for found in places.values() for store in found.values()}
    return Placement(
        places=places, new_stores={store: who for store, who in new_stores.items() if store in used}
    )


def _beyond_limit(places: Places, own: str | None) -> list[str]:
    """If the agent would search too many stores, return the sources in its smallest shared stores."""
    sources: dict[str, list[str]] = defaultdict(list)
    for source, store in places.items():
        sources[store].append(source)
    shared = sorted(sources.keys() - {own}, key=lambda store: (-len(sources[store]), store))
    if len(sources) <= MAX_STORES:
        return []
    return [source for store in shared[MAX_STORES - 1 :] for source in sources[store]]


def _split(
    present: Iterable[SourcePlace], knows: Mapping[str, frozenset[str]]
) -> tuple[dict[str, set[tuple[str, str]]], dict[str, dict[str, set[str]]]]:
    """Return the present places of the agents that do not change (store -> agent and source), and of those
    that change (agent -> store -> sources).
    """
    others: dict[str, set[tuple[str, str]]] = defaultdict(set)
    own: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in present:
        if one.agent in knows:
            own[one.agent][one.store].add(one.source)
        else:
            others[one.store].add((one.agent, one.source))
    return others, own


def _contents(
    others: Mapping[str, set[tuple[str, str]]],
    own: Mapping[str, Mapping[str, set[str]]],
    knows: Mapping[str, frozenset[str]],
) -> dict[str, set[str]]:
    """Return what each present store is to hold: the sources of the agents that do not change, and those
    sources of changing agents that these agents are to find there.

    A changing agent leaves a store that holds a source that it is not to know. Its other sources then leave
    the store, too, unless another agent needs them there.
    """
    stay: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for agent, stores in own.items():
        for store, sources in stores.items():
            stay[store][agent] = sources & knows[agent]
    contents: dict[str, set[str]] = {}
    for store in others.keys() | stay.keys():
        fixed = {source for _, source in others.get(store, ())}
        while True:
            content = fixed.union(*stay[store].values())
            leaving = [agent for agent in stay[store] if not content <= knows[agent]]
            if not leaving:
                break
            # Only the agents that know the fewest sources of the store leave. Then the others may be able to
            # stay.
            least = min(len(content & knows[agent]) for agent in leaving)
            for agent in leaving:
                if len(content & knows[agent]) == least:
                    del stay[store][agent]
        if content:
            contents[store] = content
    return contents
