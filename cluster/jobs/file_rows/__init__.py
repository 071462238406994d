"""The progress of jobs that read a file row by row."""
