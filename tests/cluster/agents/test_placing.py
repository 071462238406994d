"""A source that agents share is placed once, and no agent searches a store with a source that it lacks."""

from collections import defaultdict
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as some

from cluster.agents import placing
from cluster.agents.definition import MAX_NAMED_STORES
from cluster.agents.placing import Placement, SourcePlace, place
from cluster.retrieval.retrieve import MAX_STORES as MAX_SEARCHED_STORES

AGENTS = some.dictionaries(
    some.sampled_from("abcdef"), some.sets(some.sampled_from("uvwxyz"), max_size=6), max_size=6
)


def places_of(placement: Placement, run: int) -> list[SourcePlace]:
    """The places, with names of new stores that no other run uses."""
    return [
        SourcePlace(
            agent=agent, source=source, store=f"{run} {store}" if store in placement.new_stores else store
        )
        for agent, places in placement.places.items()
        for source, store in places.items()
    ]


def after(present: list[SourcePlace], changes: Mapping[str, set[str]], run: int) -> list[SourcePlace]:
    placed = places_of(place(changes, present), run)
    return [one for one in present if one.agent not in changes] + placed


@settings(max_examples=100)
@given(some.lists(AGENTS, max_size=4))
def test_every_agent_finds_its_sources_and_no_others(runs: list[dict[str, set[str]]]) -> None:
    present: list[SourcePlace] = []
    wanted: dict[str, set[str]] = {}
    for run, changes in enumerate(runs):
        present = after(present, changes, run)
        wanted |= changes
        found, holds, searches = defaultdict(set), defaultdict(set), defaultdict(set)
        for one in present:
            found[one.agent].add(one.source)
            holds[one.store].add(one.source)
            searches[one.agent].add(one.store)
        for agent, sources in wanted.items():
            assert found[agent] == sources
            assert set().union(*(holds[store] for store in searches[agent])) == sources
        assert not place(wanted, present).new_stores


def test_a_shared_source_lies_in_one_store_also_for_agents_of_a_later_run() -> None:
    first = after([], {"a": {"handbook", "policy", "a"}, "b": {"handbook", "policy", "b"}}, 0)
    later = after(first, {"c": {"handbook", "policy", "c"}}, 1)
    for source in ("handbook", "policy"):
        assert len({one.store for one in later if one.source == source}) == 1
    assert len({one.store for one in later}) == 4


def test_new_versions_go_into_the_stores_of_the_same_agents() -> None:
    first = after([], {"a": {"handbook", "a"}, "b": {"handbook"}}, 0)
    new = after(first, {"a": {"handbook 2", "a 2"}, "b": {"handbook 2"}}, 1)
    version = {"handbook 2": "handbook", "a 2": "a"}
    old = [(one.agent, version[one.source], one.store) for one in new]
    assert sorted(old) == sorted((one.agent, one.source, one.store) for one in first)


def test_an_agent_never_searches_more_stores_than_a_search_takes() -> None:
    assert placing.MAX_STORES + MAX_NAMED_STORES <= MAX_SEARCHED_STORES
    many = {f"agent {number}": {f"source {number}"} for number in range(40)}
    first = after([], {**many, "all": {f"source {number}" for number in range(40)}}, 0)
    of_all = {one.source: one.store for one in first if one.agent == "all"}
    assert (len(of_all), len(set(of_all.values()))) == (40, placing.MAX_STORES)
    others = {one.store for one in first if one.agent != "all"}
    assert len(set(of_all.values()) - others) == 1
