"""Code for accepting, queueing, running, rescuing, showing and archiving jobs."""
