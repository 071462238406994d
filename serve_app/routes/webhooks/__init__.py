"""The routes of webhooks: endpoints, their secrets, and the delivery log."""
