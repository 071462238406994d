"""The routes of /v1/schedules: create, list, change, pause, run and delete schedules; show their history."""
