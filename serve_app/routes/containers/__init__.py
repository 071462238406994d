"""Routes about containers, such as archives, whose entries are files of their own."""
