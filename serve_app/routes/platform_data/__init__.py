"""The routes of the platform's data: events, customers, agents and conversations."""
