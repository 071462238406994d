"""A server that speaks OpenAI's protocol for embeddings, over TCP, with faults on demand.

with simulator() as provider:
    OpenAI(base_url=provider.url, api_key="sk-any").embeddings.create(model=..., input="a text")
"""

from tests.simulators.openai.faults import Fault
from tests.simulators.openai.provider import Limits, Provider, vector_of
from tests.simulators.openai.server import Server, simulator

__all__ = ["Fault", "Limits", "Provider", "Server", "simulator", "vector_of"]
