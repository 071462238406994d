"""Cohere's second client with its defaults, except that long texts are refused, as by other clients."""

import cohere
from client_script import error_of, print_results, task

asked = task()
client = cohere.ClientV2(api_key="none needed", base_url=asked["base_url"].removesuffix("/v1"))


def embed(texts: list, model: str, **more: str):
    return client.embed(
        model=model, texts=texts, input_type="search_document", embedding_types=["float"], **more
    )


answer = embed(asked["texts"], asked["model"])
ranked = client.rerank(model=asked["model"], query=asked["texts"][0], documents=asked["texts"], top_n=2)
print_results(
    vectors=answer.embeddings.float_,
    usage=int(answer.meta.billed_units.input_tokens),
    query=embed(asked["texts"][:1], asked["model"]).embeddings.float_[0],
    ranked=[result.index for result in ranked.results],
    unknown=error_of(lambda: embed(["a"], "no-such-model")),
    too_long=error_of(lambda: embed([asked["long"]], asked["model"], truncate="NONE")),
)
