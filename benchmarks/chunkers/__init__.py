"""Compares the chunkers on documentation that others wrote."""
