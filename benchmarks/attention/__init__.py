"""One op in four forms, quoted by docs/attention.md; `python -m benchmarks.attention` times them."""
