"""Jobs about whole vector stores."""
