"""docs/performance.md: what the benchmarks' last lines come to, as tables and charts."""
