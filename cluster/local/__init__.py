"""One machine as a cluster: the bundled Postgres, a Ray head and the HTTP endpoint, started, stopped and described.

python -m cluster.local up
"""
