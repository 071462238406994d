"""Generate events of an invented platform, for the command ``python -m data_jobs.generate_platform_data``."""
