"""From a request and a recipient to a finished message."""
