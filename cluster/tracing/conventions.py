"""Defines the names of the attributes of spans, from version 1.37.0 of OpenTelemetry's semantic conventions.

The ``gen_ai`` conventions are not stable, because each version can rename attributes. So this file holds the
names of one version, and every span has the URL of this version (``SCHEMA_URL``). To use a newer version,
change only this file. https://github.com/open-telemetry/semantic-conventions/tree/v1.37.0/docs/gen-ai

    with span(f"embeddings {model}") as made:
        made.set(embeddings(model, dim=384, inputs=2, tokens=120))
"""

from cluster.tracing.spans import AttributeValue

SEMANTIC_CONVENTIONS = "1.37.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{SEMANTIC_CONVENTIONS}"

METHOD, ROUTE, STATUS, PATH = (
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "url.path",
)
OPERATION, PROVIDER, MODEL = "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"
INPUT_TOKENS, OUTPUT_TOKENS = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
DIMENSIONS = "gen_ai.embeddings.dimension.count"
FINISH_REASONS = "gen_ai.response.finish_reasons"
#: The name that spans give as the provider of this cluster's models. The conventions permit our own names.
OWN_PROVIDER = "embedding-cluster"

SERVER_ADDRESS = "server.address"
MAX_TOKENS, TEMPERATURE = "gen_ai.request.max_tokens", "gen_ai.request.temperature"

#: Attributes of our own, for which the conventions have no name.
ORGANISATION, REQUEST_ID = "cluster.organisation", "cluster.request_id"
JOB, KIND, ATTEMPT, STAGE = "cluster.job", "cluster.job.kind", "cluster.job.attempt", "cluster.job.stage"
INPUTS = "cluster.inputs"


def embeddings(model: str, *, dim: int, inputs: int, tokens: int) -> dict[str, AttributeValue]:
    """Return the attributes of a span around the computation of vectors.

    Args:
        model: the name that clients of this cluster use for the model, also for a model of a remote provider.
        dim: length of a vector.
        inputs: number of inputs.
        tokens: number of tokens that the model reads.
    """
    return {
        OPERATION: "embeddings",
        PROVIDER: OWN_PROVIDER,
        MODEL: model,
        DIMENSIONS: dim,
        INPUTS: inputs,
        INPUT_TOKENS: tokens,
    }


def chat(
    model: str, *, address: str, max_tokens: int, temperature: float | None
) -> dict[str, AttributeValue]:
    """Return those attributes of a request to a chat server that are known before the server answers.

    Args:
        model: the name that the chat server uses for the model.
        address: host of the server.
        max_tokens: maximum number of tokens of the answer.
        temperature: the temperature of the request; None if the server uses its default.
    """
    return {
        OPERATION: "chat",
        PROVIDER: "openai",  # the protocol, which is the same for all servers; ``address`` names the server
        MODEL: model,
        SERVER_ADDRESS: address,
        MAX_TOKENS: max_tokens,
        **({} if temperature is None else {TEMPERATURE: temperature}),
    }


def answered(finish_reason: str, *, prompt_tokens: int, answer_tokens: int) -> dict[str, AttributeValue]:
    """Return those attributes of a request to a chat server that are known after the server has answered."""
    return {
        FINISH_REASONS: [finish_reason],
        INPUT_TOKENS: prompt_tokens,
        OUTPUT_TOKENS: answer_tokens,
    }
