"""The composition root: settings, command line, embedded PostgreSQL, supervisor, sandbox."""
