"""The job that computes profiles of customers, with one file for each part of a profile."""
