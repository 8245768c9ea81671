"""The real domain, handler and pipeline code under a virtual clock, with faults and crashes from a seed."""
