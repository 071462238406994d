"""litellm, which applications put in front of several providers."""

import litellm
from client_script import error_of, print_results, task

asked = task()


def embed(texts: list, model: str):
    return litellm.embedding(
        model=f"openai/{model}", input=texts, api_base=asked["base_url"], api_key="none needed", max_retries=0
    )


answer = embed(asked["texts"], asked["model"])
print_results(
    vectors=[item["embedding"] for item in answer.data],
    usage=answer.usage.prompt_tokens,
    query=embed(asked["texts"][:1], asked["model"]).data[0]["embedding"],
    unknown=error_of(lambda: embed(["a"], "no-such-model")),
    too_long=error_of(lambda: embed([asked["long"]], asked["model"])),
)
