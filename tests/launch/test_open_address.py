"""A Serve that other machines reach starts no replica without a key, whatever the settings say about addresses.

That one which listens on the loopback interface does, the running cluster of the other tests shows.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from tests.conftest import ROOT, free_ports

pytestmark = [pytest.mark.launch, pytest.mark.timeout(300)]

DEPLOY = """
import json, sys
import ray
from ray import serve

from cluster.settings import Settings
from serve_app.open_address import require_key

port, folder = int(sys.argv[1]), sys.argv[2]
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)


class Door:
    def __init__(self):
        require_key(Settings())

    async def __call__(self, request):
        return "in"


said = []
serve.start(http_options={"host": "0.0.0.0", "port": port})
for key in (None, "sk-0123456789"):
    options = {"runtime_env": {"env_vars": {} if key is None else {"CLUSTER_API_KEY": key}}}
    try:
        serve.run(serve.deployment(ray_actor_options=options, max_constructor_retry_count=1)(Door).bind())
    except RuntimeError:
        pass
    (application,) = serve.status().applications.values()
    said.append([application.status, " ".join(part.message for part in application.deployments.values())])
serve.shutdown()
ray.shutdown()
print(json.dumps(said))
"""


def test_a_replica_looks_where_serve_listens() -> None:
    folder = tempfile.mkdtemp(prefix="ec-", dir="/tmp")
    try:
        done = subprocess.run(
            [sys.executable, "-c", DEPLOY, str(free_ports(1)[0]), folder],
            cwd=ROOT, capture_output=True, text=True, timeout=200,
            env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    said = [line for line in done.stdout.splitlines() if line.startswith("[[")]
    assert said, done.stderr[-3_000:]
    states, reasons = zip(*json.loads(said[-1]), strict=True)
    assert states == ("DEPLOY_FAILED", "RUNNING")
    assert "CLUSTER_API_KEY" in reasons[0]
    assert "0.0.0.0" in reasons[0]
