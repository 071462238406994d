"""GET /v1/vector_stores/{id}/files/{file_id}/entries lists the entries of a container with their status."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
from psycopg import Connection

from cluster.blobs import open_blob_store
from cluster.documents.containers.container_entries import NewEntry, add_entries, attach_entries
from cluster.documents.files import get_file
from cluster.documents.vector_stores.store_files import get_store_file
from cluster.documents.vector_stores.stores import VectorStore
from cluster.organisations.organisations import StorageLimits
from cluster.records import Outcome
from cluster.settings import Settings


def test_entries_are_listed_in_pages_and_counted_by_status(
    http: httpx.Client,
    store: VectorStore,
    done: Any,
    settings: Settings,
    connection: Connection[Any],
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    upload = {"files": {"file": ("c.zip", b"PK\x05\x06" + uuid4().bytes)}, "data": {"purpose": "assistants"}}
    file = http.post("/v1/files", **upload).json()["id"]  # type: ignore[arg-type]
    http.post(path, json={"file_id": file, "attributes": {"plant": "north"}})
    answer = http.get(f"{path}/{file}/entries").json()
    assert (answer["data"], answer["entry_counts"]["total"]) == ([], 0)
    blobs = open_blob_store(settings)
    entries = [NewEntry(number=2, path="c.bin", outcome=Outcome.UNSUPPORTED, detail="is unknown")]
    for number, name in enumerate(["a.txt", "docs/b.txt"]):
        with blobs.writer(settings.organisation) as writer:
            writer.write(name.encode())
            blob = writer.commit()
        entries.append(NewEntry(number=number, path=name, blob=blob, media_type="text/plain"))
    with connection.transaction():
        container = get_file(connection, settings.organisation, file)
        add_entries(connection, blobs, container, entries, default_limits=StorageLimits())
        attached = get_store_file(connection, settings.organisation, store.id, file)
        options = {"pipeline_version": "1", "before": datetime.now(UTC)}
        assert attach_entries(connection, store, attached, **options) == 2  # type: ignore[arg-type]
        assert attach_entries(connection, store, attached, **options) == 0  # type: ignore[arg-type]

    first = http.get(f"{path}/{file}/entries", params={"limit": 2}).json()
    rest = http.get(f"{path}/{file}/entries", params={"page": first["next_page"]}).json()
    a, b, c = [*first["data"], *rest["data"]]
    assert (first["has_more"], rest["has_more"], rest["next_page"]) == (True, False, None)
    assert [entry["status"] for entry in (a, b, c)] == ["in_progress", "in_progress", "left_out"]
    assert (c["path"], c["file_id"], c["outcome"], c["detail"]) == (
        "c.bin",
        None,
        "unsupported",
        "is unknown",
    )
    done(store, a["file_id"])
    assert http.delete(f"{path}/{b['file_id']}").status_code == 200
    after = http.get(f"{path}/{file}/entries").json()
    assert [entry["status"] for entry in after["data"]] == ["completed", "cancelled", "left_out"]
    assert after["entry_counts"] == {
        "total": 3,
        "in_progress": 0,
        "completed": 1,
        "failed": 0,
        "cancelled": 1,
        "left_out": 1,
    }
    assert [http.get(f"{path}/{id}").json()["entries"] for id in (file, a["file_id"])] == [3, 0]
    listed = {one["filename"]: one for one in http.get(path).json()["data"]}
    assert (listed["a.txt"]["status"], listed["a.txt"]["attributes"]) == ("completed", {"plant": "north"})
    http.post(f"{path}/{file}", json={"attributes": {"plant": "south"}})
    assert http.get(f"{path}/{a['file_id']}").json()["attributes"] == {"plant": "south"}
    assert http.get(f"{path}/{file}/entries", params={"page": "-1"}).status_code == 400
    assert http.delete(f"/v1/files/{file}").status_code == 200
    assert http.get(f"/v1/files/{a['file_id']}").status_code == 404
