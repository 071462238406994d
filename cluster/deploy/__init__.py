"""The files of a deployment: Serve's configuration, HAProxy's, dashboards, and the code that adapts them."""
