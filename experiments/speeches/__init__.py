"""Seed 003: speeches of three presidents, a classifier of sentences and a language model."""
