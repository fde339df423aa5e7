"""The number of parameters of a model, as a formula with its derivation.

    python -m models.count --model lstm --d 128 --layers 2
    python -m models.count --model gpt --d 128 --layers 2
    python -m models.count --model tied-gpt --layers 4
    python -m models.count --model speech-classifier
    python -m models.count --model decoder-only --d 128 --layers 4

It answers questions 1.3 (LSTM), 2.6 (multi-head attention) and 2.10 (decoder) of seeds 000 and 001,
with and without biases, and derives the counts of seeds 002, 003 and 004. Tests compare the
formulas with the parameters of real models.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from models.bert import BertConfig
from models.clip import CLIPConfig
from models.gpt import GPTConfig
from models.lstm import LSTMConfig
from models.speech import SpeechConfig
from models.tied import TiedGPTConfig, TiedLSTMConfig
from models.translation import TranslationConfig


# --- the formulas -------------------------------------------------------------------------------
def lstm_core(d_x: int, d_h: int, layers: int, bias: bool = True) -> int:
    """Question 1.3: 4 d_h [d_x + d_h + b + (L - 1)(2 d_h + b)].

    Each of the four gates maps the concatenation [x; h] to d_h numbers. In the first layer x has
    d_x numbers; in the L - 1 layers above, x is the hidden state of the layer below, so [x; h] has
    2 d_h numbers.
    """
    b = int(bias)
    return 4 * d_h * (d_x + d_h + b + (layers - 1) * (2 * d_h + b))


def attention(d: int, bias: bool = True) -> int:
    """Question 2.6: 4 (d² + b d), where d = head size x heads.

    W_Q, W_K, W_V and W_O are d x d each; the number of heads does not change the count.
    """
    return 4 * (d * d + int(bias) * d)


def decoder(d: int, layers: int, multiplier: int = 4, bias: bool = True) -> int:
    """Question 2.10: L [(4 + 2 m) d² + (4 b + 4) d].

    A block has attention, two feed-forward layers d -> m d -> d without biases, and two layer
    norms with a gain and a bias of d numbers each.
    """
    return layers * (attention(d, bias) + 2 * multiplier * d * d + 4 * d)


def classifier(d: int, vocabulary_size: int) -> int:
    """d V + V: one linear layer with bias."""
    return d * vocabulary_size + vocabulary_size


def embedding(d: int, vocabulary_size: int) -> int:
    """V d. The row of the padding token stays zero but is counted, as in PyTorch."""
    return vocabulary_size * d


def count_parameters(config: LSTMConfig | GPTConfig, *, embeddings: bool = True) -> int:
    """The number of trainable parameters of a model.

    embeddings: False leaves out the token embedding; the number is then P of the seeds' experiment
                4.5. The positions of the GPT are fixed, so they have no parameters.
    """
    if isinstance(config, LSTMConfig):
        core, width = lstm_core(config.d, config.d_hidden, config.layers), config.d_hidden
    else:
        core, width = decoder(config.d, config.layers, config.multiplier), config.d
    total = core + classifier(width, config.vocabulary_size)
    return total + embedding(config.d, config.vocabulary_size) * embeddings


def tied_lstm(config: TiedLSTMConfig) -> int:
    """Seed 002, what is trained: 4 h [d + h + 2 + (L - 1)(2 h + 2)] + h d + d.

    Each layer has two biases of 4 h numbers, as in PyTorch; then a linear layer h -> d.
    """
    h, n = config.hidden, config.layers
    second_biases = n * 4 * h
    return lstm_core(config.d, h, n) + second_biases + classifier(h, config.d)


def tied_gpt(config: TiedGPTConfig) -> int:
    """Seed 002, what is trained: L [4 (d² + d) + (2 h d + h + d) + 4 d]; + 2 d with pre-norm.

    As in `decoder`, but the feed-forward part d -> h -> d has both biases.
    """
    c, d, h = config, config.d, config.hidden
    return c.layers * (attention(d) + (2 * h * d + h + d) + 4 * d) + 2 * d * c.pre_norm


def speech_block(d: int, hidden: int) -> int:
    """Seed 003: (4 d² + d) + (2 h d + h + d) + 4 d.

    Attention has only a bias of its output, the feed-forward part d -> h -> d has both biases, and
    there are two layer norms of 2 d numbers.
    """
    return (4 * d * d + d) + (2 * hidden * d + hidden + d) + 4 * d


def speech_trunk(config: SpeechConfig) -> int:
    """V d + T d + L blocks; without T d if positions are not learned."""
    c = config
    positions = c.block * c.d if c.positions == "learned" else 0
    return embedding(c.d, c.vocabulary_size) + positions + c.layers * speech_block(c.d, c.hidden)


def speech_head(config: SpeechConfig) -> int:
    """d n + n + n k + k for n features and k classes, plus 2 n with batch norm."""
    n, k = config.head, config.classes
    return config.d * n + n + n * k + k + 2 * n * config.batch_norm


def bert(config: BertConfig) -> int:
    """(V + P + S) d + 2 d + L blocks + (d² + d): tables of words, positions and segments, their
    norm, and the pooler. A block has 4 (d² + d) + (2 h d + h + d) + 4 d.
    """
    c, d, h = config, config.d, config.hidden
    block = attention(d) + (2 * h * d + h + d) + 4 * d
    tables = (c.vocabulary_size + c.positions + c.types) * d
    return tables + 2 * d + c.layers * block + d * d + d


def translation_decoder(d: int, layers: int, vocabulary_size: int) -> int:
    """4 L (d² + d) + d V + V, without the embeddings, V d: seed 004's 16 d² + 46 d + 30.

    A block has W_Q, W_K, W_V and a feed-forward layer, each d x d with a bias.
    """
    return 4 * layers * (d * d + d) + classifier(d, vocabulary_size)


def encoder_decoder(d: int, layers: int, vocabulary_size: int) -> int:
    """11 L (d² + d) + d V + V + 2 V d: 4 layers d x d in a block of the encoder, 7 in one of the
    decoder, which has two attentions; and two embeddings."""
    blocks = 11 * layers * (d * d + d)
    return blocks + classifier(d, vocabulary_size) + 2 * embedding(d, vocabulary_size)


def clip_blocks(d: int, layers: int) -> int:
    """Seed 004, CLIP: L (12 d² + 13 d).

    A block has attention with biases, 4 d² + 4 d, a feed-forward part d -> 4 d -> d with biases,
    8 d² + 5 d, and two layer norms, 4 d.
    """
    return layers * (12 * d * d + 13 * d)


def clip_vision(config: CLIPConfig) -> int:
    """3 p² d + d + (n + 1) d + L blocks + 4 d + d e, for n patches of p x p pixels.

    Patches, class token, positions, two norms and the projection, which has no bias.
    """
    c, d = config, config.vision_d
    rest = 3 * c.patch**2 * d + d + (c.patches + 1) * d + 4 * d + d * c.embed
    return clip_blocks(d, c.vision_layers) + rest


def clip_text(config: CLIPConfig) -> int:
    """V d + T d + L blocks + 2 d + d e: embedding, positions, a norm and the projection."""
    c, d = config, config.text_d
    rest = embedding(d, c.vocabulary_size) + c.context * d + 2 * d + d * c.embed
    return clip_blocks(d, c.text_layers) + rest


# --- the derivations ----------------------------------------------------------------------------
class Line(NamedTuple):
    what: str
    formula: str
    numbers: str
    count: int


def explain_lstm(config: LSTMConfig) -> list[Line | str]:
    x, h, n, v = config.d, config.d_hidden, config.layers, config.vocabulary_size
    with_bias, without = lstm_core(x, h, n), lstm_core(x, h, n, bias=False)
    return [
        "Question 1.3: the LSTM. Four gates, each a map of [x; h] to d_h numbers.",
        Line("with bias", "4 d_h [d_x + d_h + 1 + (L-1)(2 d_h + 1)]",
             f"4*{h} [{x} + {h} + 1 + {n - 1}*{2 * h + 1}]", with_bias),
        Line("without", "4 d_h [d_x + d_h + (L-1) 2 d_h]",
             f"4*{h} [{x} + {h} + {n - 1}*{2 * h}]", without),
        "    Erratum: the boxed answer of seed 000 lost the factor 4 on the d_h² terms; it would",
        f"    give {4 * h * x + h * h + (n - 1) * 2 * h * h + 4 * n * h:,} with bias. The line"
        " above its box is right, and so is seed 001.",
        "The language model:",
        Line("LSTM", "(above)", "", with_bias),
        Line("classifier", "d_h V + V", f"{h}*{v} + {v}", classifier(h, v)),
        Line("P", "without embedding", "", count_parameters(config, embeddings=False)),
        Line("embedding", "V d_x", f"{v}*{x}", embedding(x, v)),
        Line("total", "", "", count_parameters(config)),
    ]  # fmt: skip


def explain_gpt(config: GPTConfig) -> list[Line | str]:
    d, n, m, v = config.d, config.layers, config.multiplier, config.vocabulary_size
    return [
        "Question 2.6: multi-head attention. W_Q, W_K, W_V, W_O are d x d, d = head size * heads.",
        Line("with bias", "4 (d² + d)", f"4 ({d}² + {d})", attention(d)),
        Line("without", "4 d²", f"4*{d}²", attention(d, bias=False)),
        "    Erratum: seed 000 gives the matrices as head size x heads; they are",
        "    (head size * heads) x (head size * heads). Its count is right.",
        "Question 2.10: the decoder. L blocks: attention, a feed-forward part d -> m d -> d",
        "without biases, and two layer norms of 2 d numbers.",
        Line("with bias", "L [(4 + 2 m) d² + 8 d]",
             f"{n} [{4 + 2 * m}*{d}² + 8*{d}]", decoder(d, n, m)),
        Line("without", "L [(4 + 2 m) d² + 4 d]",
             f"{n} [{4 + 2 * m}*{d}² + 4*{d}]", decoder(d, n, m, bias=False)),
        "    Erratum: seed 000 writes 2*model*d² for 2*m*d², leaves the layer norms out, and its",
        "    case without bias forgets both L and the feed-forward part. Seed 001 is right.",
        "The language model:",
        Line("decoder", "(above)", "", decoder(d, n, m)),
        Line("classifier", "d V + V", f"{d}*{v} + {v}", classifier(d, v)),
        Line("P", "without embedding", "", count_parameters(config, embeddings=False)),
        Line("embedding", "V d", f"{v}*{d}", embedding(d, v)),
        Line("total", "positions are fixed", "", count_parameters(config)),
    ]  # fmt: skip


def explain_tied_lstm(config: TiedLSTMConfig) -> list[Line | str]:
    c, d, h, n = config, config.d, config.hidden, config.layers
    core = lstm_core(d, h, n) + 4 * n * h
    return [
        "Seed 002: an LSTM with two biases a layer, between two uses of one frozen table.",
        Line("LSTM", "4 h [d + h + 2 + (L-1)(2 h + 2)]",
             f"4*{h} [{d} + {h} + 2 + {n - 1}*{2 * h + 2}]", core),
        Line("decoder", "h d + d", f"{h}*{d} + {d}", classifier(h, d)),
        Line("trained", "", "", tied_lstm(c)),
        Line("table", "V d", f"{c.vocabulary_size}*{d}", embedding(d, c.vocabulary_size)),
        Line("total", "", "", tied_lstm(c) + embedding(d, c.vocabulary_size)),
    ]  # fmt: skip


def explain_tied_gpt(config: TiedGPTConfig) -> list[Line | str]:
    c, d, h, v = config, config.d, config.hidden, config.vocabulary_size
    tables = embedding(d, v) + c.length * d
    return [
        "Seed 002: post-norm blocks between two uses of one frozen table; frozen positions.",
        Line("attention", "4 (d² + d)", f"4 ({d}² + {d})", attention(d)),
        Line("feed-forward", "2 h d + h + d", f"2*{h}*{d} + {h} + {d}", 2 * h * d + h + d),
        Line("two norms", "4 d", f"4*{d}", 4 * d),
        Line("trained", "L blocks", f"L = {c.layers}", tied_gpt(c)),
        Line("table", "V d", f"{v}*{d}", embedding(d, v)),
        Line("positions", "T d", f"{c.length}*{d}", c.length * d),
        Line("total", "", "", tied_gpt(c) + tables),
    ]


def explain_trunk(config: SpeechConfig) -> list[Line | str]:
    c, d, h = config, config.d, config.hidden
    return [
        "Seed 003: embeddings, learned positions, L pre-norm blocks, no last norm.",
        Line("attention", "4 d² + d", f"4*{d}² + {d}", 4 * d * d + d),
        Line("feed-forward", "2 h d + h + d", f"2*{h}*{d} + {h} + {d}", 2 * h * d + h + d),
        Line("two norms", "4 d", f"4*{d}", 4 * d),
        Line("a block", "", "", speech_block(d, h)),
        Line("embedding", "V d", f"{c.vocabulary_size}*{d}", embedding(d, c.vocabulary_size)),
        Line("positions", "T d", f"{c.block}*{d}", c.block * d),
        Line("trunk", "V d + T d + L blocks", f"{c.layers} blocks", speech_trunk(c)),
    ]


def explain_speech_classifier(config: SpeechConfig) -> list[Line | str]:
    c, trunk, head = config, speech_trunk(config), speech_head(config)
    return [
        *explain_trunk(c),
        "The classifier: d -> n (ReLU) -> k.",
        Line("head", "d n + n + n k + k", f"n = {c.head}, k = {c.classes}", head),
        Line("total", "", "", trunk + head),
        Line("with batch norm", "+ 2 n", f"+ 2*{c.head}", trunk + head + 2 * c.head),
        Line("without positions", "- T d", "ALiBi, or none", trunk + head - c.block * c.d),
        "    Erratum: seed 003 reports 576,539 for its first part. That is the model with the",
        "    batch norm of its section 3.2; the one that it describes there has 576,339.",
    ]


def explain_speech_language_model(config: SpeechConfig) -> list[Line | str]:
    c, d, v = config, config.d, config.vocabulary_size
    small = replace(c, hidden=100)
    return [
        *explain_trunk(c),
        "The language model: one linear layer at every position, which shares nothing.",
        Line("classifier", "d V + V", f"{d}*{v} + {v}", classifier(d, v)),
        Line("total", "", "", speech_trunk(c) + classifier(d, v)),
        Line("h = 100", "table 3 of the seed", "", speech_trunk(small) + classifier(d, v)),
        Line("without positions", "- T d", "ALiBi, or none",
             speech_trunk(c) + classifier(d, v) - c.block * d),
    ]  # fmt: skip


def explain_clip(config: CLIPConfig) -> list[Line | str]:
    c, v, t = config, config.vision_d, config.text_d
    return [
        "Seed 004: CLIP. A vision transformer reads patches, a text transformer reads tokens.",
        Line("a block", "12 d² + 13 d", f"d = {v}", clip_blocks(v, 1)),
        Line("vision", "3 p² d + d + (n+1) d + L blocks + 4 d + d e",
             f"p = {c.patch}, n = {c.patches}, L = {c.vision_layers}, e = {c.embed}",
             clip_vision(c)),
        Line("a block", "12 d² + 13 d", f"d = {t}", clip_blocks(t, 1)),
        Line("text", "V d + T d + L blocks + 2 d + d e",
             f"V = {c.vocabulary_size}, T = {c.context}, L = {c.text_layers}", clip_text(c)),
        Line("temperature", "", "", 1),
        Line("total", "", "", clip_vision(c) + clip_text(c) + 1),
    ]  # fmt: skip


def explain_bert(config: BertConfig) -> list[Line | str]:
    c, d = config, config.d
    tables = (c.vocabulary_size + c.positions + c.types) * d
    pooler = d * d + d
    return [
        "Seed 004: BERT, whose blocks have post-norm and biases.",
        Line("tables", "(V + P + S) d", f"V = {c.vocabulary_size}, P = {c.positions}", tables),
        Line("their norm", "2 d", f"d = {d}", 2 * d),
        Line("blocks", "L [4 (d² + d) + (2 h d + h + d) + 4 d]", f"L = {c.layers}, h = {c.hidden}",
             bert(c) - tables - 2 * d - pooler),
        Line("pooler", "d² + d", f"d = {d}", pooler),
        Line("total", "", "", bert(c)),
    ]  # fmt: skip


def explain_encoder_decoder(config: TranslationConfig) -> list[Line | str]:
    d, n, v = config.d, config.layers, config.vocabulary_size
    return [
        "Seed 004: an encoder-decoder without layer norms, with one head an attention.",
        Line("encoder", "4 L (d² + d)", f"L = {n}, d = {d}", 4 * n * (d * d + d)),
        Line("decoder", "7 L (d² + d)", f"L = {n}, d = {d}", 7 * n * (d * d + d)),
        Line("classifier", "d V + V", f"V = {v}", classifier(d, v)),
        Line("embeddings", "2 V d", f"V = {v}", 2 * embedding(d, v)),
        Line("total", "", "", encoder_decoder(d, n, v)),
    ]


def explain_decoder_only(config: TranslationConfig) -> list[Line | str]:
    d, n, v = config.d, config.layers, config.vocabulary_size
    without = translation_decoder(d, n, v)
    return [
        "Seed 004: a decoder without layer norms, with one head an attention.",
        Line("blocks", "4 L (d² + d)", f"L = {n}, d = {d}", 4 * n * (d * d + d)),
        Line("classifier", "d V + V", f"V = {v}", classifier(d, v)),
        Line("without embedding", "", "", without),
        Line("embedding", "V d", f"V = {v}", embedding(d, v)),
        Line("total", "", "", without + embedding(d, v)),
    ]


EXPLAINED = {
    "lstm": explain_lstm,
    "gpt": explain_gpt,
    "tied-lstm": explain_tied_lstm,
    "tied-gpt": explain_tied_gpt,
    "speech-classifier": explain_speech_classifier,
    "speech-language-model": explain_speech_language_model,
    "encoder-decoder": explain_encoder_decoder,
    "decoder-only": explain_decoder_only,
    "bert": explain_bert,
    "clip": explain_clip,
}


def in_columns(lines: list[Line | str]) -> str:
    """The derivation as text."""
    rows = [line for line in lines if isinstance(line, Line)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        line if isinstance(line, str) else
        "    " + "  ".join(cell.ljust(w) for cell, w in zip(line[:3], widths, strict=True))
        + f"  {line.count:>12,}"
        for line in lines
    )  # fmt: skip


# --- the command --------------------------------------------------------------------------------
class Parser(argparse.ArgumentParser):
    """An argument parser that prints errors in one line, without usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def main(args: list[str] | None = None) -> None:
    parser = Parser("python -m models.count", description=__doc__.split("\n")[0],
                    allow_abbrev=False)  # fmt: skip
    parser.add_argument("--model", choices=list(EXPLAINED), required=True)
    parser.add_argument(
        "--d",
        type=positive,
        help="embedding and hidden size (128; 768 in 002; 64 in 003, 004; BERT 384)",
    )
    parser.add_argument(
        "--layers", type=positive, help="layers or blocks (2; 1 in 002, 4 in 003, 3 in 004; BERT 6)"
    )
    parser.add_argument(
        "--vocabulary",
        type=positive,
        help="tokens (36: p = 31; 40,479 in 002; 5,755 in 003; 30 in 004; BERT 30,522)",
    )
    options = parser.parse_args(args)
    sizes = {"vocabulary_size": options.vocabulary, "d": options.d, "layers": options.layers}
    try:
        config = config_of(options.model, {k: v for k, v in sizes.items() if v is not None})
    except ValueError as error:
        parser.error(str(error))
    print(in_columns(EXPLAINED[options.model](config)))


def config_of(model: str, sizes: dict[str, int]) -> Any:
    """The configuration with these sizes, and the seeds' for all others."""
    if model == "clip":
        if sizes:
            raise ValueError("clip: only the sizes of ViT-B/32 are derived")
        return CLIPConfig()
    if model == "lstm":
        sizes = {"d": 128, **sizes}
        return LSTMConfig(**{"d_hidden": sizes["d"], **sizes})
    if model in ("encoder-decoder", "decoder-only"):
        return TranslationConfig(**sizes)
    if model == "tied-lstm":
        return TiedLSTMConfig(**sizes)
    if model == "tied-gpt":
        sizes |= {"hidden": 4 * sizes.get("d", TiedGPTConfig.d)}
    kinds = {"gpt": GPTConfig, "bert": BertConfig, "tied-gpt": TiedGPTConfig}
    kind = kinds.get(model, SpeechConfig)
    heads = next(h for h in (4, 2, 1) if sizes.get("d", 128) % h == 0)  # does not change the count
    return kind(**{"heads": heads, **sizes})


if __name__ == "__main__":
    sys.exit(main())
