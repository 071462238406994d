"""Has the routes that show the content of a vector store to people."""
