"""Seed 004: gradients, Pig Latin, scaling laws, BERT and CLIP."""
