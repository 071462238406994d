"""The process that parses documents, limited in time and memory."""
