"""The routes of /v1/jobs: submit jobs, and list, follow, cancel and repeat them."""
