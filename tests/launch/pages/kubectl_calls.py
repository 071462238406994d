"""Checks calls of kubectl against the manifests: folders, kinds, names, labels, containers and secrets.

No Kubernetes is at hand in the tests. ``page_shell`` records the calls.
"""

import re
import shlex
from argparse import ArgumentParser

from cluster.settings import Settings
from tests.cluster.deploy.kubernetes.manifests import KUBERAY, load, pods, resources
from tests.conftest import ROOT

#: Kinds of resources, as kubectl takes them, and their names in manifests. Kubernetes or KubeRay makes those
#: with None, and chooses their names.
KINDS = {
    "rayservice": "RayService",
    "rayjob": "RayJob",
    "raycronjob": "RayCronJob",
    "raycluster": None,
    "configmap": "ConfigMap",
    "secret": "Secret",
    "ingress": "Ingress",
    "networkpolicy": "NetworkPolicy",
    "poddisruptionbudget": "PodDisruptionBudget",
    "pod": None,
    "node": None,
    "namespace": None,
    "event": None,
}
#: Verbs whose arguments are kinds and names.
ON_RESOURCES = {"get", "describe", "delete", "edit", "patch", "annotate", "wait", "logs", "exec"}
ON_NODES = {"cordon", "uncordon", "drain"}
FOUND = resources()
TEMPLATES = [pod for one in FOUND.values() for pod in pods(one)] + [
    pod for path in KUBERAY.rglob("gpu-workers.yaml") for pod in pods(load(path.read_text()))
]
CONTAINERS = {container["name"] for pod in TEMPLATES for container in pod["spec"]["containers"]}
LABELS = {label for pod in TEMPLATES for label in pod.get("metadata", {}).get("labels", {}).items()}
GROUPS = set(re.findall(r"groupName: (\S+)", "".join(path.read_text() for path in KUBERAY.rglob("*.yaml"))))
#: Labels that KubeRay adds to pods, with their values.
LABELS_OF_KUBERAY = {"ray.io/node-type": {"head", "worker"}, "ray.io/group": GROUPS}
#: The services that KubeRay makes for a RayService, and the Secret that the handbook lets a person create.
MADE = {
    ("service", "embedding-cluster-head-svc"),
    ("service", "embedding-cluster-serve-svc"),
    ("secret", "embedding-cluster"),
    ("secret", "embedding-cluster-tls"),
    ("configmap", "embedding-cluster-settings"),
}


def check_call(call: str) -> None:
    """Fail if the arguments of a call of kubectl name something that the manifests do not have."""
    parser = ArgumentParser(prog="kubectl", exit_on_error=False)
    for option in ("-k", "-f", "-l", "-c", "-o", "-n", "-p"):
        parser.add_argument(option)
    for option in ("--namespace", "--type", "--for", "--timeout", "--tail", "--since", "--sort-by"):
        parser.add_argument(option)
    parser.add_argument("--from-literal", action="append", default=[])
    for flag in ("--watch", "--previous", "--follow", "--ignore-daemonsets", "--delete-emptydir-data"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--current", action="store_true")
    parser.add_argument("words", nargs="*")
    arguments = shlex.split(call)
    options = parser.parse_intermixed_args(arguments[: ([*arguments, "--"]).index("--")])
    verb, *words = options.words

    if options.k is not None:
        assert (ROOT / options.k / "kustomization.yaml").exists(), call
    if options.f is not None:
        assert (ROOT / options.f).exists(), call
    if options.c is not None:
        assert options.c in CONTAINERS, call
    for label in (options.l or "").split(","):
        assert not label or _known_label(*label.split("=")), call
    for literal in options.from_literal:
        assert _known_variable(literal.partition("=")[0]), call
    _check_words(call, verb, words, has_files=(options.k or options.f) is not None)


def _check_words(call: str, verb: str, words: list[str], *, has_files: bool) -> None:
    if verb in {"apply", "kustomize", "diff"}:
        assert has_files or words, call
    elif verb in {"create", "config", "top", "version"}:
        assert words or verb == "version", call
    elif verb == "port-forward":
        assert tuple(words[0].split("/")) in MADE, call
    elif verb in ON_NODES:
        assert words == ["node-of-the-tests"], call
    elif verb in ON_RESOURCES:
        kind, name = (words[0].split("/") if "/" in words[0] else [*words, ""])[:2]
        if verb in {"logs", "exec"} and "/" not in words[0]:
            kind, name = "pod", words[0]
        assert _known_resource(kind.removesuffix("s") if kind != "ingress" else kind, name), call
    else:
        raise AssertionError(f"teach the tests the verb {verb!r}: {call}")


def _known_resource(kind: str, name: str) -> bool:
    if kind == "service":
        return not name or (kind, name) in MADE
    manifest = KINDS[kind]
    own = manifest is None or f"{manifest} {name}" in FOUND
    return not name or own or (kind, name) in MADE


def _known_label(name: str, value: str) -> bool:
    return (name, value) in LABELS or value in LABELS_OF_KUBERAY.get(name, ())


def _known_variable(name: str) -> bool:
    setting = name.removeprefix("CLUSTER_").lower()
    return setting in Settings.model_fields if name.startswith("CLUSTER_") else name.startswith("AWS_")
