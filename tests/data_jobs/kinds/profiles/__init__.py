"""Tests of the job that computes profiles."""
