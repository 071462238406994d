"""Tests of the parts of bulk jobs, without Ray."""
