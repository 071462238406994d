"""Reads the entries of containers, such as archives and e-mails, in the limited parse process."""
