"""How docs/, docstrings and records become a site."""
