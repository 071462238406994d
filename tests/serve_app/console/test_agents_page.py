"""The page "Agents" in a real browser: streamed answers, their sources, and text that is no HTML."""

from typing import Any

from tests.serve_app.answers.conftest import ChattingServer, NewAgent
from tests.serve_app.console.console_page import ConsolePage

FACTS = ("Swifts sleep on the wing and land only to nest.", "Herons stand still for hours.")
ANSWER = """## Swifts

They sleep **on the wing** [1], and they never:

1. stand still [2]
2. write `<b>` or <img src=x onerror=alert(1)>

See [the site](https://example.com/birds) and [a trap](javascript:alert(1)).
"""


def test_an_answer_is_streamed_with_sources_that_lead_to_their_pages(
    console: ConsolePage, chatting: ChattingServer, new_agent: NewAgent
) -> None:
    page, chat = console.page, chatting.chat
    chat.reply = lambda messages: ANSWER
    chat.token_s = 0.01
    agent = new_agent(*FACTS, name="Helper", greeting="Good day.", retrieval={"threshold": 0.0})
    console.open(chatting.server.url, f"#/agents/{agent.id}")
    page.get_by_label("Question").fill("Where do swifts sleep?")
    page.keyboard.press("Enter")
    answer = page.get_by_role("article", name="Answer of Helper")
    answer.get_by_text("They sleep").wait_for()
    answer.locator(".sources").wait_for()
    assert answer.get_by_role("heading", name="Swifts").count() == 1
    assert answer.locator("strong").first.inner_text() == "on the wing"
    assert answer.locator("img").count() == 0
    assert "<img src=x onerror=alert(1)>" in answer.inner_text()
    links = [link.get_attribute("href") for link in answer.locator(".prose a").all()]
    assert links == ["https://example.com/birds"]
    assert "[a trap](javascript:alert(1))" in answer.inner_text()
    answer.get_by_role("button", name="Source 2").click()
    assert answer.locator(".source.chosen").inner_text().startswith("2")
    console.shoot("agents-chat")
    source = answer.locator(".source").first
    quote = source.locator(".quote").inner_text()
    source.get_by_role("link").click()
    page.locator(".passage").wait_for()
    assert page.locator(".passage").inner_text() == quote


def test_a_conversation_continues_and_an_answer_can_be_stopped(
    console: ConsolePage, chatting: ChattingServer, new_agent: NewAgent
) -> None:
    page, chat = console.page, chatting.chat
    agent = new_agent(*FACTS, name="Helper", retrieval={"threshold": 0.0})
    console.open(chatting.server.url, "#/agents")
    page.get_by_role("row").filter(has_text=agent.definition.external_id).get_by_role("link").click()
    ask(page, "Where do swifts sleep?")
    page.get_by_role("button", name="Good answer").click()
    feedback = chatting.http.get("/v1/feedback").json()["data"]
    assert feedback[0]["rating"] == "positive"
    chat.calls.clear()
    ask(page, "And herons?", answers=2)
    conversations = [messages for call in chat.calls for messages in [call.body["messages"]]]
    assert any("Where do swifts sleep?" in str(messages) for messages in conversations)
    page.get_by_role("button", name="New conversation").click()
    assert page.locator(".turn").count() == 0
    chat.token_s = 0.2
    chat.reply = lambda messages: "word " * 200
    page.get_by_label("Question").fill("Tell me more.")
    page.keyboard.press("Enter")
    page.locator(".turn.answer").last.get_by_text("word").first.wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("The answer was stopped.").wait_for()
    page.get_by_role("button", name="Send").wait_for()


def ask(page: Any, question: str, *, answers: int = 1) -> None:
    """Ask, and wait until this many answers are complete."""
    page.get_by_label("Question").fill(question)
    page.keyboard.press("Enter")
    page.locator(".turn.answer:not([aria-busy])").nth(answers - 1).locator(".sources").wait_for()


def test_long_and_hostile_markdown_is_shown_without_delay(
    console: ConsolePage, chatting: ChattingServer
) -> None:
    console.open(chatting.server.url, "#/agents")
    took = console.page.evaluate(
        """async () => {
            const { markdown } = await import("./markdown.js");
            const texts = ["*".repeat(50000), "[".repeat(50000), "> ".repeat(50000), "`a".repeat(25000),
                           "- a\\n".repeat(20000), "|a|\\n|---|\\n" + "|b|\\n".repeat(5000), "[a](http://".repeat(5000)];
            const start = performance.now();
            for (const text of texts) document.createElement("div").append(...markdown(text));
            return performance.now() - start;
        }"""
    )
    assert took < 3_000
