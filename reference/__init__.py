"""Arguments of ops and the results that they must give, for `tests/` and `benchmarks.gpu`.

Cases of all ops with the same calls in PyTorch, and attention in float64 with bounds of rounding
errors. Only NumPy is needed, so ops can be checked on a GPU without pytest and PyTorch.
"""
