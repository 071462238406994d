"""The routes that show the content of a vector store."""
