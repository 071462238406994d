"""Lists the addresses of a running cluster and commands to try next, which ``up`` and the demo print."""

from cluster.local.addresses import api_url, dashboard_url
from cluster.settings import Settings

JSON = "-H 'Content-Type: application/json'"
#: A request to an agent. The demo creates an agent with the name ``demo``.
ASKED = '{"model": "agent:demo", "stream": true, "messages": [{"role": "user", "content": "a question"}]}'


def next_steps(settings: Settings, vector_store: str = "NAME") -> str:
    """Return the addresses and commands as text. Each command is on one line, so it can be copied whole."""
    api, dashboard = api_url(settings), dashboard_url(settings)
    lines = {
        "API": f"{api}/v1",
        "console": f"{api}/console/",
        "Ray dashboard": dashboard,
        "data": str(settings.home),
        "ingest": f"ray job submit --address {dashboard} -- "
        "python -m data_jobs.ingest /absolute/path --vector-store NAME",
        "embed": f'curl {api}/v1/embeddings {JSON} -d \'{{"model": "{settings.model}", "input": "a text"}}\'',
        "search": f"curl {api}/v1/vector_stores/{vector_store}/search {JSON} "
        '-d \'{"query": "a question"}\'',
        "answer": f"curl -N {api}/v1/chat/completions {JSON} -d '{ASKED}'",
        "status": "make status",
        "stop": "make down",
    }
    return "\n".join(f"  {name:14} {text}" for name, text in lines.items())
