"""Optimizers, gradient clipping and learning rate schedules."""

from minigrad.optim.clip import clip_grad_norm
from minigrad.optim.optimizers import SGD, Adam, AdamW, Optimizer
from minigrad.optim.schedules import constant, cosine, inverse_sqrt, linear, step_decay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "clip_grad_norm",
    "constant",
    "cosine",
    "inverse_sqrt",
    "linear",
    "step_decay",
]
