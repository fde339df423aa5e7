"""What an op is called with, and what it has to give: for `tests/` and for `benchmarks.gpu`.

Cases of all ops beside PyTorch, and attention in float64 with bounds of its rounding. NumPy is
enough, so every op can be checked on a GPU where neither pytest nor PyTorch is installed.
"""
