"""Turn the last message of a conversation into a question that a search understands without the history.

The question "And how long does it take?" does not say what takes long. A chat model rewrites such a question
with the history. Without a chat model, the search uses the previous question and this question together.

    await search_question(history, chat)
"""

from collections.abc import Sequence

from cluster.chat import ChatMessage, ChatModel, rewrite
from cluster.errors import InvalidInput

#: Maximum number of characters of a question that is searched for. A longer question is cut.
SEARCHED_CHARACTERS = 8_000


def question_of(history: Sequence[ChatMessage]) -> str:
    """Return the beginning of the last message, which is the question to search for.

    Raises:
        InvalidInput: the last message is not a question of the user.
    """
    if not history or history[-1].role != "user" or not history[-1].content.strip():
        raise InvalidInput(
            "messages must end with a message of the role user that has text; send the question there",
            param="messages",
        )
    return history[-1].content[:SEARCHED_CHARACTERS]


async def search_question(history: Sequence[ChatMessage], chat: ChatModel | None) -> str:
    """Return the question to search for. The first question of a conversation is not rewritten.

    Raises:
        InvalidInput: the last message is not a question of the user.
        ClusterError: the errors of ``rewrite``.
    """
    question = question_of(history)
    earlier = [message for message in history[:-1] if message.role in {"user", "assistant"}]
    asked = [message.content for message in earlier if message.role == "user" and message.content.strip()]
    if not asked:
        return question
    if chat is None:
        return f"{asked[-1][:SEARCHED_CHARACTERS]}\n{question}"
    return (await rewrite(chat, earlier, question)).strip() or question
