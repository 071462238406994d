"""Choose the numeric paths of an engine on this machine: time each path, and keep the timings."""
