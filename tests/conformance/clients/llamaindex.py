"""llama-index-embeddings-openai-like."""

from client_script import error_of, print_results, task
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

asked = task()


def client(model: str) -> OpenAILikeEmbedding:
    return OpenAILikeEmbedding(
        model_name=model, api_base=asked["base_url"], api_key="none needed", max_retries=0
    )


mine = client(asked["model"])
print_results(
    vectors=mine.get_text_embedding_batch(asked["texts"]),
    query=mine.get_query_embedding(asked["texts"][0]),
    unknown=error_of(lambda: client("no-such-model").get_query_embedding("a")),
    too_long=error_of(lambda: mine.get_query_embedding(asked["long"])),
)
