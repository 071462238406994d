"""A replica starts quickly. It computes token ids for callers inside the cluster, for the model that they
were made for.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cluster.errors import Conflict
from serve_app.deployment import Embedder
from tests.imported_modules import modules_after
from tests.serve_app.conftest import MODEL, PROMPTED, Server


def test_a_replica_imports_the_package_of_mcp_only_for_a_request_of_it() -> None:
    found = modules_after("import serve_app.main, serve_app.deployment")
    assert {"mcp", "mcp_types"}.isdisjoint(found)


@pytest.mark.parametrize("name", [MODEL, PROMPTED])
async def test_token_ids_are_computed_by_the_model_they_were_made_for(server: Server, name: str) -> None:
    engine = server.service.models[name].engine
    ids = engine.tokeniser.ids(["Swifts sleep on the wing."])
    vectors = await Embedder.embed_ids(
        replica(server), ids, fingerprint=engine.fingerprint.id, organisation="default"
    )
    assert np.allclose(vectors, engine.embed_ids(ids), atol=1e-6)


async def test_token_ids_of_another_model_are_refused_and_never_computed(server: Server) -> None:
    ids = server.service.models.default.engine.tokeniser.ids(["Swifts sleep on the wing."])
    served = server.service.models.default.engine.fingerprint.id
    with pytest.raises(Conflict, match=f"vectors of {MODEL}@older are requested.*{served}"):
        await Embedder.embed_ids(replica(server), ids, fingerprint=f"{MODEL}@older", organisation="default")


def replica(server: Server) -> Any:
    """The parts of a replica that the method reads."""
    return SimpleNamespace(_service=server.service)
