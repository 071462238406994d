"""The tokens of a passage that is in many prompts are counted once."""

from cluster.chat.contract import ChatMessage
from cluster.chat.prompt_tokens import REMEMBERED_CHARACTERS, PromptTokens


def test_only_short_texts_are_remembered() -> None:
    counted: list[str] = []
    counter = PromptTokens(lambda text: counted.append(text) or len(text))
    long = "x" * (REMEMBERED_CHARACTERS + 1)

    assert [counter.text(text) for text in ("passage", "passage", long, long)] == [7, 7, len(long), len(long)]
    assert counted == ["passage", long, long]


def test_a_prompt_has_the_tokens_of_its_messages() -> None:
    counter = PromptTokens(len)
    assert counter.messages([ChatMessage("user", "hello"), ChatMessage("user", "again")]) == 6 + 6 + 5 + 6 + 5
