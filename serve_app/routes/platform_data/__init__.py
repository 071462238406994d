"""The routes of the platform's data: events about customers and conversations."""
