"""REST: ingest, history, health and the console pages."""
