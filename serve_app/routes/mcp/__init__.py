"""Tools of the Model Context Protocol (MCP): a language model searches and reads the vector stores."""
