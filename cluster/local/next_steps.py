"""What a person can do with a running cluster: the addresses and the next commands, printed by ``up`` and the demo."""

from rich.table import Table

from cluster.local.addresses import api_url, dashboard_url
from cluster.settings import Settings

JSON = "-H 'Content-Type: application/json'"


def next_steps(settings: Settings, vector_store: str = "NAME") -> Table:
    """Addresses, and a command for each thing worth trying next."""
    api, dashboard = api_url(settings), dashboard_url(settings)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("API", f"{api}/v1")
    table.add_row("Ray dashboard", dashboard)
    table.add_row("data", str(settings.home))
    table.add_row("ingest", f"ray job submit --address {dashboard} -- python -m data_jobs.ingest PATH --vector-store NAME")
    table.add_row("embed", f'curl {api}/v1/embeddings {JSON} -d \'{{"model": "{settings.model}", "input": "a text"}}\'')
    table.add_row("search", f'curl {api}/v1/vector_stores/{vector_store}/search {JSON} -d \'{{"query": "a question"}}\'')
    table.add_row("what runs", "make status")
    table.add_row("stop", "make down")
    return table
