"""The loss of untrained models on a first batch: how large must the frozen embeddings be?

    python -m experiments.wikitext.first_loss --data DATA --of minilm
    python -m experiments.wikitext.first_loss --data DATA --file embeddings.npz

The output is tied to the embeddings, and what leaves a post-norm block has norm √d whatever went
in. So an untrained GPT predicts its own input, with logits in proportion to the norm of the
embeddings, and its first loss is a measure of that norm. An LSTM begins with small logits, at
log V = 10.61.

`embeddings.NORMS` are chosen by the first row; the others then come out near those of the seed.
Means of three seeds, which differ by up to 2.2 with vectors of the text and 1.0 with MiniLM's; in
the last two columns d is 384, of 8,000 ids, in windows of 64:

| model | seed 002 | MiniLM | text | MiniLM, small | text, small |
|---|---|---|---|---|---|
| GPT, 1 layer | 47.94 | 47.88 | 47.90 | 31.16 | 32.14 |
| GPT, 2 layers | 46.67 | 46.37 | 46.41 | 29.87 | 30.91 |
| GPT, 4 layers | 44.00 | 43.41 | 43.39 | 27.78 | 28.71 |
| LSTM, 1 layer | 10.61 | 10.62 | 10.61 | 9.00 | 8.98 |
| LSTM, 2 layers | 10.62 | 10.62 | 10.62 | 8.98 | 8.99 |
| LSTM, 4 layers | 10.64 | 10.62 | 10.62 | 8.98 | 8.99 |

With d = 384 a logit is √2 smaller at the same norm, which is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import minigrad as mg
from experiments.data import wikitext
from experiments.data.chunks import PADDING, Chunks, chunks
from experiments.data.minilm import checkpoint_in
from experiments.data.place import data_folder, data_in
from experiments.data.wikitext import VOCABULARY, frequent
from experiments.sweep import cli
from experiments.wikitext import embeddings
from experiments.wikitext.embeddings import D, Embeddings, Kind
from models import TiedGPT, TiedGPTConfig, TiedLSTM, TiedLSTMConfig

PROG = "python -m experiments.wikitext.first_loss"
BATCH = 16
SEED_002 = {  # by architecture and layers
    ("gpt", 1): 47.94, ("gpt", 2): 46.67, ("gpt", 4): 44.00,
    ("lstm", 1): 10.6076, ("lstm", 2): 10.6165, ("lstm", 4): 10.6380,
}  # fmt: skip


def model_of(architecture: str, layers: int, tables: Embeddings) -> TiedGPT | TiedLSTM:
    """An untrained model with these tables."""
    size, d = tables.tokens.shape
    state = {"embedding.weight": tables.tokens}
    if architecture == "gpt":
        model = TiedGPT(TiedGPTConfig(size, d, layers, hidden=4 * d, length=len(tables.positions)))
        state["positions.weight"] = tables.positions
    else:
        model = TiedLSTM(TiedLSTMConfig(size, d, hidden=2 * d // 3, layers=layers))
    model.load_state_dict({**model.state_dict(), **state})
    return model


def first_loss(
    architecture: str, layers: int, tables: Embeddings, data: Chunks, seed: int = 0
) -> float:
    """The mean over BATCH chunks of the mean over their tokens.

    seed: of the weights, and of which chunks they are.
    """
    mg.random.seed(seed)
    model = model_of(architecture, layers, tables)
    rows = np.random.default_rng(seed).permutation(len(data.inputs))[:BATCH]
    with mg.no_grad():
        features = model.features(mg.tensor(data.inputs[rows]))
        targets = data.targets[rows]
        losses = mg.linear_cross_entropy(
            features, model.table, mg.tensor(targets), ignore_index=PADDING, reduction="none"
        ).numpy()
    return float(np.mean(losses.sum(axis=1) / (targets != PADDING).sum(axis=1)))


# --- the command ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Options:
    """First losses beside those of seed 002."""

    data: Path | None = None
    """Folder of WikiText-2, or the variable MINIGRAD_DATA."""
    of: Kind = "minilm"
    """The embeddings: MiniLM's, or vectors of the training text."""
    file: Path | None = None
    """A file with embeddings, in the place of those."""
    checkpoint: Path | None = None
    """Folder of MiniLM, or the variable MINIGRAD_MINILM, or else the installed package."""
    d: int = D
    """Width."""
    norm: float | None = None
    """Mean norm of the rows, in the place of that of `embeddings.NORMS`."""
    vocabulary: int = VOCABULARY
    """Ids. With fewer than all, the most frequent ones and one for the others."""
    window: int = 256
    """Tokens that a model reads of each chunk of 256."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of weights and batches."""

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 256:
            raise ValueError(f"--window: expected 1 to 256, got {self.window}")
        if not self.seeds:
            raise ValueError("--seeds: expected one or more")


def main(args: Sequence[str] | None = None) -> int:
    options = cli.parse(Options, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG), data_in(options.data), checkpoint_in(options.checkpoint):
        folder = data_folder(wikitext.SOURCE)
        train = wikitext.read(folder)["train"]
        if options.file is None:
            tables = embeddings.make(options.of, folder, options.d, options.norm)
        else:
            tables = embeddings.read(options.file, options.d)
        if options.vocabulary < VOCABULARY:
            kept = frequent(train, options.vocabulary)
            tables = embeddings.restricted(tables, kept, train)
            train = kept.new_id[train]
        data = chunks(train, window=options.window)
        print(f"{'model':8}{'seed 002':>10}{'here':>10}{'from':>10}{'to':>10}")
        for (architecture, layers), theirs in SEED_002.items():
            losses = [first_loss(architecture, layers, tables, data, s) for s in options.seeds]
            numbers = (theirs, np.mean(losses), min(losses), max(losses))
            print(f"{architecture} L{layers}".ljust(8) + "".join(f"{n:10.2f}" for n in numbers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
