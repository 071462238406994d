"""Jobs: accepted, queued, attempted, rescued, looked at and archived."""
