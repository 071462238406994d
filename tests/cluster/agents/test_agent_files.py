"""A file of agents is read in four formats, and each of its errors is found at once, with its line."""

import json
import textwrap
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from cluster.agents.files import yaml_rows
from cluster.agents.files.agent_rows import AgentFault
from cluster.agents.files.file_schema import agent_file_schema
from cluster.agents.files.reading import FORMATS, CheckedAgents, check, read_agents
from tests.conftest import ROOT

YAML = """
defaults:
  greeting: Hello!
  metadata: {team: shop, tier: one}
  knowledge: [{file: handbook.md}]
agents:
  - external_id: a
    temperature: 1
    metadata: {tier: two}
    knowledge: [{text: "Open at 9"}]
  - external_id: b
    role: Plumber
    retrieval: {k: 3, rerank: false}
"""
JSON_LINES = """{"defaults": {"greeting": "Hello!", "metadata": {"team": "shop", "tier": "one"}, \
"knowledge": [{"file": "handbook.md"}]}}

{"external_id": "a", "temperature": 1, "metadata": {"tier": "two"}, "knowledge": [{"text": "Open at 9"}]}
{"external_id": "b", "role": "Plumber", "retrieval": {"k": 3, "rerank": false}}
"""
CSV = """external_id,greeting,temperature,role,metadata.team,metadata.tier,knowledge.file,knowledge.text,\
retrieval.k,retrieval.rerank
a,Hello!,1,,shop,two,handbook.md,Open at 9,,
b,Hello!,,Plumber,shop,one,handbook.md,,3,false
"""


def checked(text: str, name: str) -> CheckedAgents:
    return check(read_agents(text.encode(), name=name))


def faults(text: str, name: str = "agents.yaml") -> list[str]:
    return [str(fault) for fault in checked(textwrap.dedent(text), name).faults]


def test_the_four_formats_give_the_same_agents() -> None:
    texts = {"a.yaml": YAML, "a.jsonl": JSON_LINES, "a.csv": CSV}
    read = {name: checked(text, name) for name, text in texts.items()}
    rows = read_agents(YAML.encode(), name="a.yml")
    whole = {"defaults": rows.defaults.value, "agents": [one.value for one in rows.agents]}
    read["a.json"] = checked(json.dumps(whole), "a.json")
    assert {name: found.faults for name, found in read.items()} == {name: [] for name in read}
    for found in read.values():
        a, b = (agent.definition for agent in found.agents)
        assert [a, b] == [agent.definition for agent in read["a.yaml"].agents]
        assert (a.metadata, len(a.knowledge)) == ({"team": "shop", "tier": "two"}, 2)
        assert (b.greeting, b.retrieval.k, len(b.knowledge)) == ("Hello!", 3, 1)
    assert [agent.given.line_of(()) for agent in read["a.yaml"].agents] == [7, 11]
    assert [agent.given.line_of(()) for agent in read["a.jsonl"].agents] == [3, 4]


def test_an_agent_with_a_prompt_takes_no_prompt_from_the_defaults() -> None:
    found = checked(
        '{"defaults": {"instructions": "x"}, "agents": [{"external_id": "a", "goal": "y"}]}', ".json"
    )
    assert [agent.definition.system_prompt for agent in found.agents] == ["Your goal: y"]


@pytest.mark.parametrize(
    ("text", "name", "fault"),
    [
        ("agents: [", "a.yaml", "line 2: the file is not YAML: "),
        ("agents: 5", "a.yaml", "line 1: the field agents is missing, or is not a list"),
        ("5", "a.yaml", "the file must hold a list of agents"),
        ("", "a.yaml", "the file is empty"),
        ("agents: []", "a.yaml", "the file has no agent"),
        ('{"agents": [}', "a.json", "line 1: the file is not JSON: "),
        ('{"external_id": "a"}\n{', "a.jsonl", "line 2: the line is not JSON: "),
        ("external_id,colour\n", "a.csv", "line 1: the column 'colour' is not known"),
        ("external_id,name\na,b,c\n", "a.csv", "line 2: the record has more than 2 fields"),
        ('external_id\n"a', "a.csv", "line 1: the file is not CSV: "),
        ("", "a.txt", "the file's name is 'a.txt'; it must end in one of .yaml"),
        ("a: &a [x]\nagents: [*a, *a]", "a.yaml", "line 1: a: is not known"),
        ("agents: &a [*a]", "a.yaml", "line 1: the file is nested deeper than 32 levels"),
        ("agents: [{external_id: 2026-02-30}]", "a.yaml", "the file is not YAML: day is out of range"),
        ("agents: [!!python/name:os.system '']", "a.yaml", "line 1: the file is not YAML: "),
        (
            "agents:\n- external_id: a\n  external_id: b\n",
            "a.yaml",
            "line 3: agents[0].external_id: is",
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_why(text: str, name: str, fault: str) -> None:
    assert faults(text, name)[0].startswith(fault)


def test_aliases_count_as_often_as_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_rows, "MAX_VALUES", 10_000)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "more than 10,000 values" in faults("\n".join(lines))[0]


@settings(max_examples=60)
@given(some.text(max_size=200), some.sampled_from(sorted(FORMATS)))
def test_any_text_is_read_or_refused(text: str, suffix: str) -> None:
    found = check(read_agents(text.encode("utf-8", "surrogatepass"), name=f"a{suffix}"))
    assert all(isinstance(fault, AgentFault) for fault in found.faults)


def test_the_published_schema_is_the_one_of_this_code() -> None:
    published: dict[str, Any] = json.loads((ROOT / "docs" / "agents.schema.json").read_text())
    assert published == agent_file_schema()
