"""Measures how bulk ingest scales with its engines, and how many chunks a second the ledger takes."""
