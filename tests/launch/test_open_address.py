"""A Serve that other machines can reach starts no replica without an API key, whatever the settings' address.

The running cluster of the other tests shows that a Serve on the loopback interface needs no key.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from tests.conftest import ROOT, free_ports
from tests.waiting import LONGEST_COMMAND_S

pytestmark = pytest.mark.launch

DEPLOY = """
import json, sys
import ray
from ray import serve

from cluster.settings import Settings
from serve_app.open_address import only_this_machine

port, folder = int(sys.argv[1]), sys.argv[2]
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)


class NeedsKey:
    def __init__(self):
        only_this_machine(Settings())

    async def __call__(self, request):
        return "reached"


outcomes = []
serve.start(http_options={"host": "0.0.0.0", "port": port})
for key in (None, "sk-0123456789"):
    options = {"runtime_env": {"env_vars": {} if key is None else {"CLUSTER_API_KEY": key}}}
    try:
        serve.run(serve.deployment(ray_actor_options=options, max_constructor_retry_count=1)(NeedsKey).bind())
    except RuntimeError:
        pass
    (application,) = serve.status().applications.values()
    messages = [deployment.message for deployment in application.deployments.values()]
    outcomes.append([application.status, " ".join(messages)])
serve.shutdown()
ray.shutdown()
print(json.dumps(outcomes))
"""


def test_a_replica_without_a_key_starts_only_where_serve_listens_on_loopback() -> None:
    folder = tempfile.mkdtemp(prefix="ec-", dir="/tmp")
    try:
        done = subprocess.run(
            [sys.executable, "-c", DEPLOY, str(free_ports(1)[0]), folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LONGEST_COMMAND_S,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "RAY_USAGE_STATS_ENABLED": "0",
                "CLUSTER_HOME": f"{folder}/home",  # it has no database, so there is no key in it
            },
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    outcomes = [line for line in done.stdout.splitlines() if line.startswith("[[")]
    assert outcomes, done.stderr[-3_000:]
    states, reasons = zip(*json.loads(outcomes[-1]), strict=True)
    assert states == ("DEPLOY_FAILED", "RUNNING")
    assert "CLUSTER_API_KEY" in reasons[0]
    assert "0.0.0.0" in reasons[0]
