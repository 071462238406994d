"""The parties of ``benchmarks.ingest``: each runs alone in a fresh process and prints one JSON line."""
