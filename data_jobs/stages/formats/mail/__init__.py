"""Reads e-mails: headers in any character set, the text that a reader sees, and attachments."""
