"""Prints the rules of the alerts as a file of rules for Prometheus.

python -m cluster.alerts.prometheus > cluster/deploy/alerts.yaml
"""

import argparse
import json
import re

from cluster.alerts.rules import RULES, AlertRule, Limit

HEAD = """\
# Rules of alerts for Prometheus; prometheus.yaml names this file. docs/runbook.md says for each alert what
# caused it and what to do. python -m cluster.alerts.prometheus writes this file from cluster/alerts/rules.py.
groups:
  - name: embedding-cluster
    rules:
"""


def rules_file() -> str:
    """Return the text of ``cluster/deploy/alerts.yaml``."""
    return HEAD + "".join(map(_rule, RULES.values()))


def _rule(rule: AlertRule) -> str:
    lines = [
        f"- alert: {rule.name}",
        f"  expr: {json.dumps(' or '.join(map(_comparison, rule.limits)))}",
        *([f"  for: {rule.for_s // 60}m"] if rule.for_s else []),
        f"  labels: {{severity: {rule.severity}}}",
        "  annotations:",
        f"    summary: {json.dumps(_with_labels(rule.summary))}",
        f"    description: {json.dumps(_with_labels(rule.description))}",
    ]
    return "".join(f"      {line}\n" for line in lines)


def _comparison(limit: Limit) -> str:
    query = limit.measure.query
    compared = f"({query})" if re.search(r" (/|and) ", query) else query
    return f"{compared} {'<' if limit.below else '>'} {limit.value:g}"


def _with_labels(text: str) -> str:
    return re.sub(r"\{(\w+)\}", r"{{ $labels.\1 }}", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print cluster/deploy/alerts.yaml, which the rules make.")
    parser.parse_args()
    print(rules_file(), end="")
