"""The embedded PostgreSQL: a server of our own in the data directory, kept alive by whoever uses it."""
