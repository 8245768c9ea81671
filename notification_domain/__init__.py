"""Pure values and functions: source events, the notification aggregate, policies, backoff, identity."""
