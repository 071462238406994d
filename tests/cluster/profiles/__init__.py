"""Tests of profiles of customers."""
