"""Models, composed of modules of `minigrad.nn`."""

from models.blocks import PostNorm, PreNorm, Residual
from models.clip import CLIP, CLIPConfig
from models.gpt import GPT, GPTConfig
from models.lstm import LSTMConfig, LSTMLanguageModel
from models.speech import BagOfWords, SpeechClassifier, SpeechConfig, SpeechLanguageModel
from models.translation import DecoderOnly, EncoderDecoder, TranslationConfig

__all__ = [
    "CLIP",
    "GPT",
    "BagOfWords",
    "CLIPConfig",
    "DecoderOnly",
    "EncoderDecoder",
    "GPTConfig",
    "LSTMConfig",
    "LSTMLanguageModel",
    "PostNorm",
    "PreNorm",
    "Residual",
    "SpeechClassifier",
    "SpeechConfig",
    "SpeechLanguageModel",
    "TranslationConfig",
]
