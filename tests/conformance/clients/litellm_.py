"""litellm, which applications put in front of several providers."""

import litellm
from client_script import error_of, print_results, task

asked = task()


def embed(texts: list, model: str):
    return litellm.embedding(
        model=f"openai/{model}", input=texts, api_base=asked["base_url"], api_key="none needed", max_retries=0
    )


def chat(agent: dict, **options):
    return litellm.completion(
        model=f"openai/{agent['model']}",
        messages=[{"role": "user", "content": asked["question"]}],
        api_base=agent["base_url"],
        api_key="none needed",
        max_retries=0,
        **options,
    )


def answer_of(agent: dict) -> dict:
    chunks = list(chat(agent, stream=True, stream_options={"include_usage": True}))
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    texts = [choice.delta.content for choice in choices if choice.delta.content]
    usage = next(chunk.usage for chunk in chunks if getattr(chunk, "usage", None))
    return {
        "text": "".join(texts),
        "parts": len(texts),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "finish": next(choice.finish_reason for choice in choices if choice.finish_reason),
        "sources": next(chunk.sources for chunk in chunks if hasattr(chunk, "sources")),
        "annotations": next(chunk.annotations for chunk in chunks if hasattr(chunk, "annotations")),
        "error": error_of(lambda: chat({**agent, "model": "agent:nobody"})),
    }


def respond(agent: dict, **options):
    return litellm.responses(
        model=f"openai/{agent['model']}",
        input=asked["question"],
        api_base=agent["base_url"],
        api_key="none needed",
        max_retries=0,
        **options,
    )


def response_of(agent: dict) -> dict:
    events = list(respond(agent, stream=True))
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    whole = events[-1].response
    last = respond(agent, previous_response_id=whole.id)
    return {
        "text": "".join(texts),
        "parts": len(texts),
        "prompt_tokens": whole.usage.input_tokens,
        "completion_tokens": whole.usage.output_tokens,
        "annotations": [dict(one) for one in whole.output[-1].content[0].annotations],
        "next": last.output[-1].content[0].text,
        "error": error_of(lambda: respond({**agent, "model": "agent:nobody"})),
    }


answer = embed(asked["texts"], asked["model"])
print_results(
    vectors=[item["embedding"] for item in answer.data],
    usage=answer.usage.prompt_tokens,
    query=embed(asked["texts"][:1], asked["model"]).data[0]["embedding"],
    unknown=error_of(lambda: embed(["a"], "no-such-model")),
    answers={way: answer_of(agent) for way, agent in asked["agents"].items()},
    responses={way: response_of(agent) for way, agent in asked["agents"].items()},
    too_long=error_of(lambda: embed([asked["long"]], asked["model"])),
)
