"""All checks and benchmarks that need a GPU: `make gpu-check`, or `python -m benchmarks.gpu`.

Read `__main__` first: it runs the groups of checks and prints their results.
"""
