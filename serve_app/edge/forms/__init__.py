"""Read multipart forms with a file while the form arrives."""
