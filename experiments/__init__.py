"""Experiments: one command each (`python -m experiments.NAME`), over shared pieces."""
