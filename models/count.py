"""How many numbers a model learns, as a formula and with the derivation.

    python -m models.count --model lstm --d 128 --layers 2
    python -m models.count --model gpt --d 128 --layers 2

Answers questions 1.3 (LSTM), 2.6 (multi-head attention) and 2.10 (decoder) of the seed documents,
with and without biases. The tests compare the formulas with the parameters of real models.
"""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple, NoReturn

from models.gpt import GPTConfig
from models.lstm import LSTMConfig


# --- the formulas -------------------------------------------------------------------------------
def lstm_core(d_x: int, d_h: int, layers: int, bias: bool = True) -> int:
    """Question 1.3: 4 d_h [d_x + d_h + b + (L - 1)(2 d_h + b)].

    Each of the four gates maps the concatenation [x; h] to d_h numbers. In the first layer x has
    d_x numbers; in the L - 1 layers above it is the hidden state below, so [x; h] has 2 d_h.
    """
    b = int(bias)
    return 4 * d_h * (d_x + d_h + b + (layers - 1) * (2 * d_h + b))


def attention(d: int, bias: bool = True) -> int:
    """Question 2.6: 4 (d² + b d), where d = head size x heads.

    W_Q, W_K, W_V and W_O are d x d each; dividing d among heads changes no count.
    """
    return 4 * (d * d + int(bias) * d)


def decoder(d: int, layers: int, multiplier: int = 4, bias: bool = True) -> int:
    """Question 2.10: L [(4 + 2 m) d² + (4 b + 4) d].

    A block is attention, two feed-forward maps d -> m d -> d without biases, and two layer
    norms with a gain and a bias of d numbers each.
    """
    return layers * (attention(d, bias) + 2 * multiplier * d * d + 4 * d)


def classifier(d: int, vocabulary_size: int) -> int:
    """d V + V: one linear layer with bias."""
    return d * vocabulary_size + vocabulary_size


def embedding(d: int, vocabulary_size: int) -> int:
    """V d. The row of the padding token stays zero but is counted, as PyTorch counts it."""
    return vocabulary_size * d


def count_parameters(config: LSTMConfig | GPTConfig, *, embeddings: bool = True) -> int:
    """The trainable parameters of a model; without its token embedding if `embeddings` is False.

    Positions of the GPT are fixed and count nothing. Without embeddings this is the P of the seeds'
    experiment 4.5.
    """
    if isinstance(config, LSTMConfig):
        core, width = lstm_core(config.d, config.d_hidden, config.layers), config.d_hidden
    else:
        core, width = decoder(config.d, config.layers, config.multiplier), config.d
    total = core + classifier(width, config.vocabulary_size)
    return total + embedding(config.d, config.vocabulary_size) * embeddings


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


def explain(config: LSTMConfig | GPTConfig) -> str:
    """The derivation as text in columns."""
    lines = explain_lstm(config) if isinstance(config, LSTMConfig) else explain_gpt(config)
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
    """Mistakes in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def main(args: list[str] | None = None) -> None:
    parser = Parser("python -m models.count", description=__doc__.split("\n")[0],
                    allow_abbrev=False)  # fmt: skip
    parser.add_argument("--model", choices=["lstm", "gpt"], required=True)
    parser.add_argument("--d", type=positive, default=128, help="embedding and hidden size (128)")
    parser.add_argument("--layers", type=positive, default=2, help="layers or blocks (2)")
    parser.add_argument("--vocabulary", type=positive, default=36, help="tokens (36: p = 31)")
    given = parser.parse_args(args)
    sizes = {"vocabulary_size": given.vocabulary, "d": given.d, "layers": given.layers}
    if given.model == "lstm":
        print(explain(LSTMConfig(**sizes, d_hidden=given.d)))
        return
    heads = next(h for h in (4, 2, 1) if given.d % h == 0)  # changes no count
    try:
        config = GPTConfig(**sizes, heads=heads)
    except ValueError as error:
        parser.error(str(error))
    print(explain(config))


if __name__ == "__main__":
    sys.exit(main())
