"""The command line: one module a command group, loaded only when it is asked for."""
