"""The rules of the alerts, and the built-in alerter for clusters without Prometheus.

``rules.RULES`` is the only table of rules. ``prometheus`` writes ``cluster/deploy/alerts.yaml`` from it, and
``watch`` evaluates it in one process of the cluster.

    python -m cluster.alerts list             # print the open alerts
    python -m cluster.alerts test             # send a test message through every channel
"""
