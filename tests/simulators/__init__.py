"""Servers that stand for services that cannot run here. None was compared with the live service."""
