"""Routes that show the content of a vector store to people."""
