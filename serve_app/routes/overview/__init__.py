"""Has the routes that show the present state: who the caller is, the queues, the fleet, and what is wrong."""
