"""Holds the rules of the alerts, and the built-in alerter for clusters without Prometheus.

``rules.RULES`` is the only table of rules. ``prometheus`` makes ``cluster/deploy/alerts.yaml`` from this
table. ``watch`` runs in every replica and worker, and evaluates the rules in one of these processes.

    python -m cluster.alerts list             # print the open alerts
    python -m cluster.alerts test             # send a test message through every channel
"""
