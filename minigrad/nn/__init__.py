"""Modules, layers and initialization, with PyTorch's names."""

from minigrad.nn import init
from minigrad.nn.attention import LearnedPositions, MultiHeadAttention, SinusoidalPositions
from minigrad.nn.layers import (
    GELU,
    BatchNorm1d,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    ModuleList,
    ReLU,
    RMSNorm,
    Sequential,
    Tanh,
)
from minigrad.nn.module import Module, Parameter
from minigrad.nn.recurrent import LSTM, LSTMCell
from minigrad.nn.stacking import for_replicas, stack, unstack

__all__ = [
    "GELU",
    "LSTM",
    "BatchNorm1d",
    "Dropout",
    "Embedding",
    "LSTMCell",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SinusoidalPositions",
    "Tanh",
    "for_replicas",
    "init",
    "stack",
    "unstack",
]
