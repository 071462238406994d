"""langchain-openai, with its defaults: it counts tokens itself and sends arrays of cl100k_base ids."""

import os
from pathlib import Path

import llama_index.core

# LlamaIndex brings the file that tiktoken would otherwise fetch from the network.
os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache")

from client_script import error_of, print_results, task
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

asked = task()


def client(model: str) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(model=model, base_url=asked["base_url"], api_key="none needed", max_retries=0)


def chat(agent: dict, **options) -> ChatOpenAI:
    return ChatOpenAI(
        model=agent["model"], base_url=agent["base_url"], api_key="none needed", max_retries=0, **options
    )


def answer(agent: dict) -> dict:
    parts = list(chat(agent, stream_usage=True).stream(asked["question"]))
    whole = sum(parts[1:], parts[0])
    return {
        "text": whole.content,
        "parts": sum(bool(part.content) for part in parts),
        "prompt_tokens": whole.usage_metadata["input_tokens"],
        "completion_tokens": whole.usage_metadata["output_tokens"],
        "finish": whole.response_metadata["finish_reason"],
        "error": error_of(lambda: chat({**agent, "model": "agent:nobody"}).invoke("a")),
    }


def response(agent: dict) -> dict:
    """Stream a response, and send it back as a part of the next conversation."""
    model = chat(agent, use_responses_api=True)
    parts = list(model.stream(asked["question"]))
    whole = sum(parts[1:], parts[0])
    (text,) = [block for block in whole.content if block["type"] == "text"]
    next_one = model.invoke([("user", asked["question"]), whole, ("user", asked["question"])])
    return {
        "text": text["text"],
        "parts": sum(bool(part.text) for part in parts),
        "prompt_tokens": whole.usage_metadata["input_tokens"],
        "completion_tokens": whole.usage_metadata["output_tokens"],
        "annotations": [{**one, "index": one["file_index"]} for one in text["annotations"]],
        "next": next_one.text,
        "error": error_of(
            lambda: chat({**agent, "model": "agent:nobody"}, use_responses_api=True).invoke("a")
        ),
    }


mine = client(asked["model"])
print_results(
    vectors=mine.embed_documents(asked["texts"]),
    query=mine.embed_query(asked["texts"][0]),
    unknown=error_of(lambda: client("no-such-model").embed_query("a")),
    answers={way: answer(agent) for way, agent in asked["agents"].items()},
    responses={way: response(agent) for way, agent in asked["agents"].items()},
    too_long=error_of(lambda: mine.embed_query(asked["long"])),
)
