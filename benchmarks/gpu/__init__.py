"""What a GPU does with the engine: a check of every path, and tables of speeds."""
