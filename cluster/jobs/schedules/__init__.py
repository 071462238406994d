"""Schedules submit jobs at the times of a cron expression or an interval. Windows limit when jobs begin."""
