"""One op in four forms, which docs/attention.md quotes, and `python -m benchmarks.attention`."""
