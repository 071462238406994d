"""Holds the files of a deployment (Serve, HAProxy, dashboards) and the code that adapts them."""
