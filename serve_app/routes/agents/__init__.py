"""The routes of agents: definitions, creation in bulk."""
