"""Models: plain compositions of `minigrad.nn`."""

from models.gpt import GPT, GPTConfig
from models.lstm import LSTMConfig, LSTMLanguageModel
from models.prefix import PrefixTree

__all__ = ["GPT", "GPTConfig", "LSTMConfig", "LSTMLanguageModel", "PrefixTree"]
