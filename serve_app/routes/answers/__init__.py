"""Routes with answers of agents and chat models."""
