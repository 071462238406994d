"""What metrics and traces cost the endpoint, measured off and on in turn in one run."""
