"""Chat models: any server with OpenAI's chat completions, such as vLLM, Ray Serve LLM, Ollama or OpenAI.

Agents answer with these models, and searches rewrite questions with them.

    models = ChatModels(settings)
    if models:
        request = ChatRequest(messages=[ChatMessage("user", "What do herons eat?")])
        async with aclosing(models.named(None).stream(request)) as deltas:
            async for delta in deltas:
                print(delta.text, end="")
"""

from cluster.chat.contract import (
    ChatDelta,
    ChatFinishReason,
    ChatInterrupted,
    ChatMessage,
    ChatModel,
    ChatObserver,
    ChatRequest,
    ChatUsage,
)
from cluster.chat.models import ChatModels
from cluster.chat.rewriting import rewrite

__all__ = [
    "ChatDelta",
    "ChatFinishReason",
    "ChatInterrupted",
    "ChatMessage",
    "ChatModel",
    "ChatModels",
    "ChatObserver",
    "ChatRequest",
    "ChatUsage",
    "rewrite",
]
