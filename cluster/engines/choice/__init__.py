"""Which of an engine's paths is used on this machine: each is timed, and the timings are kept."""
