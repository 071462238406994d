"""The client through which Ray's autoscaler orders nodes from the cloud of the tests.

Ray imports this module on the head. It must import no engine, because the registry of engines, on a node of
the tests, imports ``tests.nodes.sleeping_engine``.
"""

from collections.abc import Mapping
from typing import Any

import httpx
from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import TAG_RAY_NODE_STATUS

READY = {TAG_RAY_NODE_STATUS: "up-to-date"}
HTTP = httpx.Client(timeout=60)


class CloudProvider(NodeProvider):
    """Ray's client of the cloud. The autoscaler calls it every second."""

    def non_terminated_nodes(self, tag_filters: Mapping[str, str]) -> list[str]:
        """Return the ids of the nodes with these tags."""
        nodes = self._get()
        return [id for id, node in nodes.items() if tag_filters.items() <= node["tags"].items()]

    def is_running(self, node_id: str) -> bool:
        """Return True for a node that the cloud has."""
        return node_id in self._get()

    def is_terminated(self, node_id: str) -> bool:
        """Return True for a node that the cloud does not have."""
        return node_id not in self._get()

    def node_tags(self, node_id: str) -> dict[str, str]:
        """Return the tags of the node."""
        tags: dict[str, str] = self._get().get(node_id, {}).get("tags", {})
        return tags

    def internal_ip(self, node_id: str) -> str:
        """Return the address of the node."""
        address: str = self._get()[node_id]["address"]
        return address

    def external_ip(self, node_id: str) -> str:
        """Return the address of the node."""
        return self.internal_ip(node_id)

    def set_node_tags(self, node_id: str, tags: Mapping[str, str]) -> None:
        """Change nothing: a node has its tags from the beginning."""

    def create_node_with_resources_and_labels(
        self, node_config: Any, tags: dict[str, str], count: int, resources: dict[str, float], labels: Any
    ) -> None:
        """Order nodes."""
        for _ in range(count):
            HTTP.post(self._url, json={"tags": {**tags, **READY}, "resources": resources})

    def terminate_node(self, node_id: str) -> None:
        """Give a node back."""
        HTTP.delete(f"{self._url}/{node_id}")

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration as it is."""
        return cluster_config

    @property
    def _url(self) -> str:
        url: str = self.provider_config["url"]
        return url

    def _get(self) -> dict[str, dict[str, Any]]:
        nodes: dict[str, dict[str, Any]] = HTTP.get(self._url).json()
        return nodes
