"""The append-only log and what is written in its transactions: due queue, leases, secrets and keys."""
