"""How a message travels: one module a channel, each turning its provider's answers into outcomes."""
