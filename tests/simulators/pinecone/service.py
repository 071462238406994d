"""The operations of a Pinecone index: checks requests, carries them out, and makes the answers.

    service = PineconeService(dim=384)
    service.operation("POST", "/vectors/upsert")     # "upsert"
    service.carry_out("upsert", body)                # the answer and its headers

A body is the JSON of a POST, or the parameters of a GET.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from tests.simulators.pinecone.contract import Contract
from tests.simulators.pinecone.filters import check_filter, check_metadata, stored
from tests.simulators.pinecone.refusal import Refusal
from tests.simulators.pinecone.storage import Storage, StoredRecord, merging, putting, removing

MAX_BYTES, MAX_ROWS, MAX_IDS, MAX_ID_LENGTH = 2_000_000, 1_000, 1_000, 512
MAX_TOP_K, MAX_TOP_K_WITH_DATA, MAX_PAGE = 10_000, 1_000, 100

Body = Mapping[str, Any]
Answer = tuple[dict[str, Any], dict[str, str]]


@dataclass(frozen=True)
class Described:
    """Names of the schemas of an operation. A request without a body has none."""

    request: str | None
    answer: str


OPERATIONS = {
    ("POST", "/vectors/upsert"): "upsert",
    ("POST", "/vectors/update"): "update",
    ("POST", "/vectors/delete"): "delete",
    ("GET", "/vectors/fetch"): "fetch",
    ("GET", "/vectors/list"): "list",
    ("POST", "/query"): "query",
    ("POST", "/describe_index_stats"): "stats",
    ("GET", "/namespaces"): "namespaces",
}
#: The path of the operation ``describe``, which ends with the name of a namespace.
NAMESPACE_PATH = "/namespaces/"
DESCRIBED = {
    "upsert": Described("UpsertRequest", "UpsertResponse"),
    "update": Described("UpdateRequest", "UpdateResponse"),
    "delete": Described("DeleteRequest", "DeleteResponse"),
    "fetch": Described(None, "FetchResponse"),
    "list": Described(None, "ListResponse"),
    "query": Described("QueryRequest", "QueryResponse"),
    "stats": Described("DescribeIndexStatsRequest", "IndexDescription"),
    "namespaces": Described(None, "ListNamespacesResponse"),
    "describe": Described(None, "NamespaceDescription"),
}


class PineconeService:
    """One index. Safe to call from several threads."""

    def __init__(self, *, dim: int = 384, metric: str = "cosine") -> None:
        self.dim, self.metric = dim, metric
        self.storage = Storage(metric)
        #: What requests and answers broke of Pinecone's description.
        self.complaints: list[str] = []
        self._contract = Contract()
        self._operations: dict[str, Callable[[Body], Answer]] = {
            "upsert": self._upsert,
            "update": self._update,
            "delete": self._delete,
            "fetch": self._fetch,
            "list": self._list,
            "query": self._query,
            "stats": self._stats,
            "namespaces": self._list_namespaces,
            "describe": self._describe,
        }

    def operation(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        """The operation of a URL, and the name at the end of its path."""
        if (found := OPERATIONS.get((method, path))) is not None:
            return found, {}
        if method == "GET" and path.startswith(NAMESPACE_PATH):
            return "describe", {"name": unquote(path.removeprefix(NAMESPACE_PATH))}
        raise Refusal(404, f"no route for {method} {path}")

    def carry_out(self, operation: str, body: Body) -> Answer:
        """Check a request, carry it out, and return the answer and its headers."""
        described = DESCRIBED[operation]
        if described.request is not None:
            self._check(described.request, body, refuse=True)
        answer, headers = self._operations[operation](body)
        self._check(described.answer, answer)
        return answer, headers

    def _check(self, schema: str, value: Body, *, refuse: bool = False) -> None:
        found = self._contract.check(schema, value)
        self.complaints += found
        if found and refuse:
            raise Refusal(400, found[0])

    def _upsert(self, body: Body) -> Answer:
        vectors = body["vectors"]
        if not 1 <= len(vectors) <= MAX_ROWS:
            raise Refusal(400, f"the request has {len(vectors)} vectors; 1 to {MAX_ROWS} are accepted")
        written = {}
        for one in vectors:
            check_id(one["id"])
            check_metadata(one.get("metadata", {}))
            written[one["id"]] = StoredRecord(
                vector=self._vector(one.get("values")), metadata=stored(one.get("metadata", {}))
            )
        number = self.storage.write(namespace_of(body), putting(written))
        return {"upsertedCount": len(vectors)}, committed(number)

    def _update(self, body: Body) -> Answer:
        if "id" not in body:
            raise Refusal(400, "this simulator updates by id only")
        check_id(body["id"])
        check_metadata(body.get("setMetadata", {}))
        vector = self._vector(body["values"]) if "values" in body else None
        change = merging(body["id"], vector, stored(body.get("setMetadata", {})))
        return {}, committed(self.storage.write(namespace_of(body), change))

    def _delete(self, body: Body) -> Answer:
        ids, everything, filter = body.get("ids"), body.get("deleteAll", False), body.get("filter")
        if (ids is not None) + bool(everything) + (filter is not None) != 1:
            raise Refusal(400, "give exactly one of ids, deleteAll and filter")
        if ids is not None and not 1 <= len(ids) <= MAX_IDS:
            raise Refusal(400, f"the request has {len(ids)} ids; 1 to {MAX_IDS} are accepted")
        if filter is not None:
            check_filter(filter)
        if not self.storage.exists(namespace_of(body)):
            raise Refusal(404, "Namespace not found")
        return {}, committed(self.storage.write(namespace_of(body), removing(ids, filter)))

    def _fetch(self, body: Body) -> Answer:
        ids = body.get("ids", [])
        if not 1 <= len(ids) <= MAX_IDS:
            raise Refusal(400, f"the request has {len(ids)} ids; 1 to {MAX_IDS} are accepted")
        records, _ = self.storage.read(namespace_of(body))
        vectors = {id: answered(id, records[id]) for id in ids if id in records}
        return {"vectors": vectors, "namespace": namespace_of(body), "usage": {"readUnits": 1}}, {}

    def _list(self, body: Body) -> Answer:
        prefix, limit, after = (
            body.get("prefix", ""),
            int(body.get("limit", 100)),
            body.get("paginationToken"),
        )
        if not 1 <= limit <= MAX_PAGE:
            raise Refusal(400, f"limit must be between 1 and {MAX_PAGE}")
        records, _ = self.storage.read(namespace_of(body))
        ids = sorted(id for id in records if id.startswith(prefix) and (after is None or id > after))
        answer: dict[str, Any] = {"vectors": [{"id": id} for id in ids[:limit]]}
        if len(ids) > limit:
            answer["pagination"] = {"next": ids[limit - 1]}
        return {**answer, "namespace": namespace_of(body), "usage": {"readUnits": 1}}, {}

    def _query(self, body: Body) -> Answer:
        with_data = body.get("includeValues", False) or body.get("includeMetadata", False)
        limit, k = MAX_TOP_K_WITH_DATA if with_data else MAX_TOP_K, body["topK"]
        if not 1 <= k <= limit:
            raise Refusal(400, f"topK is {k}; 1 to {limit} are accepted")
        filter = body.get("filter", {})
        check_filter(filter)
        namespace = namespace_of(body)
        if "id" in body:
            records, _ = self.storage.read(namespace)
            vector = records[body["id"]].vector if body["id"] in records else None
        else:
            vector = self._vector(body.get("vector"))
        best, number = ([], 0) if vector is None else self.storage.nearest(namespace, vector, k, filter)
        matches = []
        for id, score, record in best:
            match: dict[str, Any] = {"id": id, "score": score}
            if body.get("includeValues"):
                match["values"] = record.vector.tolist()
            if body.get("includeMetadata"):
                match["metadata"] = record.metadata
            matches.append(match)
        answer = {"matches": matches, "namespace": namespace, "usage": {"readUnits": 1}}
        return answer, {"x-pinecone-lsn-reconciled": str(number)}

    def _stats(self, body: Body) -> Answer:
        if body.get("filter"):
            raise Refusal(400, "Serverless indexes do not support describing statistics with a filter")
        counts = self.storage.counts()
        return {
            "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
            "dimension": self.dim,
            "indexFullness": 0.0,
            "totalVectorCount": sum(counts.values()),
            "metric": self.metric,
            "vectorType": "dense",
        }, {}

    def _list_namespaces(self, body: Body) -> Answer:
        counts = self.storage.counts()
        found = [{"name": name, "record_count": count} for name, count in sorted(counts.items())]
        return {"namespaces": found, "total_count": len(found)}, {}

    def _describe(self, body: Body) -> Answer:
        if (count := self.storage.counts().get(body["name"])) is None:
            raise Refusal(404, "Namespace not found")
        return {"name": body["name"], "record_count": count}, {}

    def _vector(self, values: Any) -> NDArray[np.float32]:
        vector = np.asarray(values or [], np.float32)
        if len(vector) != self.dim:
            raise Refusal(
                400,
                f"Vector dimension {len(vector)} does not match the dimension of the index {self.dim}",
            )
        if not np.isfinite(vector).all() or not vector.any():
            raise Refusal(400, "Dense vectors must contain finite values, at least one of them not zero")
        return vector


def namespace_of(body: Body) -> str:
    """The namespace of a request. Without one, Pinecone takes ``__default__``."""
    return str(body.get("namespace") or "__default__")


def check_id(id: str) -> None:
    """Refuse an id that Pinecone does not accept."""
    if not 1 <= len(id) <= MAX_ID_LENGTH or not id.isascii():
        raise Refusal(400, f"Vector ID must be ASCII and have 1 to {MAX_ID_LENGTH} characters, got {id!r}")


def answered(id: str, record: StoredRecord) -> dict[str, Any]:
    """A record in an answer."""
    return {"id": id, "values": record.vector.tolist(), "metadata": dict(record.metadata)}


def committed(number: int) -> dict[str, str]:
    """The header that tells the number of a write."""
    return {"x-pinecone-lsn-committed": str(number)}
