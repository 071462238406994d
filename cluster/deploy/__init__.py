"""What a deployment needs: the Serve configuration, and the same for other addresses."""
