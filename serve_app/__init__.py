"""Who asks: the HTTP applications on Ray Serve."""
