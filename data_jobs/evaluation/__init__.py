"""Asks agents golden questions over HTTP. The command ``data_jobs.evaluate_agents`` uses this package."""
