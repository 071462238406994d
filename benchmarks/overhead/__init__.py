"""Measures what metrics and traces cost the endpoint. One run measures them switched off and on in turn."""
