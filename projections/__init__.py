"""Consumers of the log: the handler that decides, the read models, and their rebuild."""
