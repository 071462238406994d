"""Commands of pages are found, and calls of kubectl that name something unknown are refused."""

from pathlib import Path

import pytest

from tests.launch.pages import page_commands
from tests.launch.pages.kubectl_calls import check_call
from tests.launch.pages.page_commands import Step, sections


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that a test writes."""
    monkeypatch.setattr(page_commands, "ROOT", tmp_path)
    return tmp_path / "page.md"


def test_blocks_and_inline_code_are_commands_in_the_order_of_the_page(page: Path) -> None:
    page.write_text(
        "# Page\n\nRun `make status`, `curl` or `celery worker`:\n\n"
        "- first:\n\n  ```bash\n  # a comment\n  df -h\n  ```\n- `df -h` and `kubectl get\n  pods`\n\n"
        "## Other\n\n```json\n{}\n```\n\n```python celery\nadd.delay(1)\n```\n\n```python\nprint(1)\n```\n"
    )

    first, second = sections("page.md")

    assert (first.id, second.heading) == ("page.md: Page", "Other")
    assert first.steps == [
        Step("bash", "make status"),
        Step("bash", "# a comment\ndf -h\n"),
        Step("bash", "kubectl get pods"),
    ]
    assert second.steps == [Step("python", "print(1)\n")]


@pytest.mark.parametrize("block", ["```\nmake up\n```", "```python celery\nadd.delay(\n```"])
def test_a_block_without_a_language_or_with_broken_code_for_celery_is_refused(page: Path, block: str) -> None:
    page.write_text(f"# Page\n\n{block}\n")

    with pytest.raises((AssertionError, SyntaxError)):
        sections("page.md")


@pytest.mark.parametrize(
    "call",
    [
        "get rayservice embedding-cluster --watch",
        "get pods -l ray.io/node-type=worker,app.kubernetes.io/name=embedding-cluster",
        "logs pod-of-the-tests -c ray-worker --tail 100",
        "exec pod-of-the-tests -c ray-head -- python -m cluster.doctor --json",
        "apply -k cluster/deploy/kuberay/overlays/cpu",
        "create secret generic embedding-cluster --from-literal=CLUSTER_API_KEY=x",
        "port-forward service/embedding-cluster-head-svc 8265",
    ],
)
def test_a_call_about_the_manifests_is_accepted(call: str) -> None:
    check_call(call)


@pytest.mark.parametrize(
    "call",
    [
        "get rayservice other",
        "get pods -l app.kubernetes.io/name=other",
        "logs pod-of-the-tests -c sidecar",
        "apply -k cluster/deploy/kuberay/overlays/other",
        "create secret generic embedding-cluster --from-literal=CLUSTER_OTHER=x",
        "port-forward service/other 8265",
        "drain other",
    ],
)
def test_a_call_that_names_something_else_is_refused(call: str) -> None:
    with pytest.raises(AssertionError):
        check_call(call)
