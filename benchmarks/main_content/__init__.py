"""Compare the main content of web pages with what people marked as the main content of each site."""
