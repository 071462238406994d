"""Requests to each route of profiles, for the test that compares answers with the document."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
from psycopg_pool import ConnectionPool

from cluster.profiles.profiles import PartVersion, ProfileValue, write_part
from cluster.profiles.propensity.features import FeatureTable
from cluster.profiles.propensity.models import save_model
from cluster.profiles.propensity.training import TrainingData, train
from cluster.profiles.selection import Selection

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def ask_about_profiles(ask: Any, pool: ConnectionPool, organisation: str) -> None:
    """Write a profile and two trainings, then ask for them and for a segment."""
    customer = ask("POST", "/v1/customers", json={"external_id": uuid4().hex})["id"]
    values = {
        "idle_days": ProfileValue(value=1.5, n=2, evidence=["/shop#1"]),
        "topics": ProfileValue(value=None, n=0, reason="insufficient_data"),
    }
    with pool.connection() as connection:
        chosen = Selection(organisation=organisation, as_of=NOW)
        write_part(connection, chosen, PartVersion(part="behaviour", version="1"), {customer: values})
        for history in (0, 500):
            save_model(connection, organisation, train(training_data(timedelta(days=history))))
    ask("GET", "/v1/customers/{customer_id}/profile", {"customer_id": customer})
    states = [one["state"] for one in ask("GET", "/v1/propensity_models")["data"]]
    assert sorted(states) == ["insufficient_data", "trained"]
    filters = {"type": "gt", "key": "idle_days", "value": 1}
    ids = {"segment_id": ask("POST", "/v1/segments", json={"name": uuid4().hex, "filters": filters})["id"]}
    ask("GET", "/v1/segments")
    ask("GET", "/v1/segments/{segment_id}", ids)
    assert ask("GET", "/v1/segments/{segment_id}/customers", ids)["data"][0]["id"] == customer
    ask("DELETE", "/v1/segments/{segment_id}", ids)


def training_data(history: timedelta) -> TrainingData:
    """Customers of whom those who bought lately buy again."""
    recency = np.linspace(1, 80, 400)
    raw = np.column_stack([recency, np.full(400, 2.0), np.full(400, 5.0), np.full(400, 90.0)])
    bought = (recency + 20 * np.sin(np.arange(400)) < 40).astype(float)
    table = FeatureTable(customers=[str(n) for n in range(400)], raw=raw, bought=bought)
    window = timedelta(days=90)
    return TrainingData(as_of=NOW, window=window, history=history, train=table, later=table)
