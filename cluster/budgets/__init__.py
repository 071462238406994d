"""Budgets of organisations: rows in the database, and reservations of work that has not ended."""
