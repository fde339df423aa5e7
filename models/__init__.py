"""Models, composed of modules of `minigrad.nn`."""

from models.bert import BERT, BertClassifier, BertConfig, BertForMaskedWords
from models.blocks import PostNorm, PreNorm, Residual
from models.clip import CLIP, CLIPConfig
from models.gpt import GPT, GPTConfig
from models.lstm import LSTMConfig, LSTMLanguageModel
from models.speech import BagOfWords, SpeechClassifier, SpeechConfig, SpeechLanguageModel
from models.tied import TiedGPT, TiedGPTConfig, TiedLSTM, TiedLSTMConfig
from models.translation import DecoderOnly, EncoderDecoder, TranslationConfig

__all__ = [
    "BERT",
    "CLIP",
    "GPT",
    "BagOfWords",
    "BertClassifier",
    "BertConfig",
    "BertForMaskedWords",
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
    "TiedGPT",
    "TiedGPTConfig",
    "TiedLSTM",
    "TiedLSTMConfig",
    "TranslationConfig",
]
