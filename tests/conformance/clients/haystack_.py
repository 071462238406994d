"""haystack-ai: its embedder of texts and its embedder of documents."""

from client_script import error_of, print_results, task
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret

asked = task()


def options(model: str) -> dict:
    return {
        "model": model,
        "api_base_url": asked["base_url"],
        "api_key": Secret.from_token("none needed"),
        "max_retries": 0,
    }


mine = OpenAITextEmbedder(**options(asked["model"]))
documents = OpenAIDocumentEmbedder(**options(asked["model"]), progress_bar=False).run(
    [Document(content=text) for text in asked["texts"]]
)
print_results(
    vectors=[document.embedding for document in documents["documents"]],
    usage=documents["meta"]["usage"]["prompt_tokens"],
    query=mine.run(asked["texts"][0])["embedding"],
    unknown=error_of(lambda: OpenAITextEmbedder(**options("no-such-model")).run("a")),
    too_long=error_of(lambda: mine.run(asked["long"])),
)
