"""A file of golden questions is read whole: every question, or every fault with its line."""

import pytest

from cluster.evaluation.golden import GoldenQuestion, golden_digest, read_golden

SAME = {
    "golden.jsonl": '{"agent": "a", "question": "Why?", "file": "x.pdf"}\n\n'
    '{"agent": "a", "question": "How?", "sentence": "So.", "file": null}\n'
    '{"agent": "b", "question": "Who?", "nothing": true}\n',
    "golden.csv": "agent,question,file,sentence,nothing\na,Why?,x.pdf,,\na,How?,,So.,\nb,Who?,,,true\n",
    "golden.yaml": "- {agent: a, question: Why?, file: x.pdf}\n"
    "- agent: a\n  question: How?\n  sentence: So.\n- {agent: b, question: Who?, nothing: true}\n",
    "golden.json": '[{"agent": "a", "question": "Why?", "file": "x.pdf"},'
    '{"agent": "a", "question": "How?", "sentence": "So."},'
    '{"agent": "b", "question": "Who?", "nothing": true}]',
}
QUESTIONS = [
    GoldenQuestion(agent="a", question="Why?", file="x.pdf"),
    GoldenQuestion(agent="a", question="How?", sentence="So."),
    GoldenQuestion(agent="b", question="Who?", nothing=True),
]


@pytest.mark.parametrize("name", SAME)
def test_every_format_says_the_same(name: str) -> None:
    questions, faults = read_golden(SAME[name].encode(), name=name)

    assert (questions, faults) == (QUESTIONS, [])
    assert golden_digest(questions) == golden_digest(QUESTIONS) != golden_digest(QUESTIONS[1:])


def test_all_faults_are_found_at_once_with_their_lines() -> None:
    lines = [
        '{"agent": "a", "question": "Why?"}',
        '{"agent": "a", "question": "Why?", "file": "x", "nothing": true}',
        "{broken",
        '{"question": "Why?", "file": "x", "color": 1}',
        '{"agent": "a", "question": "Right?", "file": "x"}',
        "7",
    ]
    questions, faults = read_golden("\n".join(lines).encode(), name="golden.jsonl")

    assert [one.question for one in questions] == ["Right?"]
    assert sorted(fault.line or 0 for fault in faults) == [1, 2, 3, 4, 4, 6]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("golden.txt", b"x"),
        ("golden.jsonl", b"\xff\xfe"),
        ("golden.jsonl", b""),
        ("golden.csv", b"agent,question,file\n"),
        ("golden.json", b"{}"),
        ("golden.yaml", b"a: [b"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(name: str, data: bytes) -> None:
    questions, faults = read_golden(data, name=name)

    assert questions == []
    assert len(faults) == 1
    assert faults[0].message
