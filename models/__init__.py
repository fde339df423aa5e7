"""Models, composed of modules of `minigrad.nn`."""

from models.bert import BERT, BertClassifier, BertConfig, BertForMaskedWords
from models.blocks import PostNorm, PreNorm, Residual
from models.gpt import GPT, GPTConfig
from models.lstm import LSTMConfig, LSTMLanguageModel
from models.speech import BagOfWords, SpeechClassifier, SpeechConfig, SpeechLanguageModel

__all__ = [
    "BERT",
    "GPT",
    "BagOfWords",
    "BertClassifier",
    "BertConfig",
    "BertForMaskedWords",
    "GPTConfig",
    "LSTMConfig",
    "LSTMLanguageModel",
    "PostNorm",
    "PreNorm",
    "Residual",
    "SpeechClassifier",
    "SpeechConfig",
    "SpeechLanguageModel",
]
