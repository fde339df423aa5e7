"""Decoders that translate into Pig Latin, sections 2.2.3 and 2.3 of seed 004: one against an
encoder-decoder, and how loss, size and FLOPs go together.

    python -m experiments.attention.decoder_only --data FOLDER --scale small
    python -m experiments.attention.decoder_only --data FOLDER

Six decoders of four layers, hidden sizes 16 to 128, 100 epochs on the small data; the largest is
the model of 2.2.3. Beside those of 64 and 128 stand encoder-decoders with about as many parameters,
the same words in the same batches, and as many updates.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from experiments.attention import options, scaling
from experiments.attention.measures import (
    BY_CHARACTER,
    EXACT,
    LEAST,
    by_rule,
    maps,
    mistakes,
    sentence,
)
from experiments.attention.seed import DECODER_ONLY, TABLE_2
from experiments.attention.translate import Translate
from experiments.results.claims import Says, decide, one_of, paired
from experiments.results.results import Answer, Results, Table
from experiments.results.tables import cell, cells_of
from experiments.results.trials import Having, Trials, finished, where
from experiments.sweep.experiment import Experiment, main
from models import count

SIZES = tuple(TABLE_2)
LAYERS, ENCODER_LAYERS = 4, 3
EQUAL = {64: 44, 128: 88}  # hidden sizes of encoder-decoders with about as many parameters
PROTOCOL = {"epochs": 100, "steps": 100 * 90}  # an epoch has at most 90 batches
DECODERS = {d: Having(f"decoder {d}", {"model": "decoder-only", "d": d}) for d in SIZES}
ENCODER_DECODERS = {
    d: Having(f"encoder-decoder {d}", {"model": "encoder-decoder", "d": d}) for d in EQUAL.values()
}


@dataclass(frozen=True)
class Options(options.Options):
    """Sections 2.2.3 and 2.3: decoders of six sizes, and two encoder-decoders."""

    def trials(self) -> dict[str, Translate]:
        trials: dict[str, Translate] = {}
        for seed in self.seeds:
            for d in SIZES:
                trials[f"decoder-{d}-seed{seed}"] = self.translate(
                    seed=seed, model="decoder-only", d=d, layers=LAYERS, **PROTOCOL
                )
            for d in EQUAL.values():
                trials[f"encoder-decoder-{d}-seed{seed}"] = self.translate(
                    seed=seed, model="encoder-decoder", d=d, layers=ENCODER_LAYERS, **PROTOCOL
                )
        return trials


def results(trials: Trials) -> Results:
    ended = finished(trials)
    by_seed = scaling.curves(ended, DECODERS.values())
    answers = scaling.resampled(by_seed)
    decoders, others = (
        {kind.label: of for kind in kinds.values() if (of := kind.of(ended))}
        for kinds in (DECODERS, ENCODER_DECODERS)
    )
    least = "; ".join(f"{name}: {cell(LEAST, LEAST.over(of))}" for name, of in decoders.items())
    largest = DECODERS[max(SIZES)].of(ended)
    return Results(
        [
            table_2(ended), against(ended),
            scaling.optima(by_seed), scaling.budget(by_seed, answers),
            by_rule(decoders | others), sentence(decoders | others),
            mistakes("Hidden size 128, first split", largest[:1]),
        ],
        [*scaling.figures(by_seed, answers), *maps("Decoder-only", largest[:1])],
        decide(CLAIMS, where(ended, **PROTOCOL)),
        Answer(f"Least validation loss: {least}", "table_2"),
        shown=("val_loss", "val_token_loss", "train_loss", "exact"),
    )  # fmt: skip


# --- tables ---------------------------------------------------------------------------------------
def table_2(trials: Trials) -> Table:
    """A row a hidden size, as in the seed, with the FLOPs that it does not count."""
    rows, data = [], {}
    quantities = (LEAST, BY_CHARACTER, EXACT)
    for d, kind in DECODERS.items():
        if of := kind.of(trials):
            texts, numbers = cells_of(quantities, of)
            flops = np.mean([scaling.curve_of(t).flops[-1] for t in of])
            size = count.translation_decoder(d, LAYERS, 30)
            rows.append(
                [str(d), f"{size:,}", f"{flops:.3g}", str(len(of)), f"{TABLE_2[d]:.3f}", *texts]
            )
            data[str(d)] = {"parameters": size, "flops": flops, "spreads": numbers}
    heads = ["hidden size", "parameters", "FLOPs", "splits", "seed 004"]
    note = (
        "Parameters without embeddings, FLOPs of the whole training. The seed's column “approx. "
        "FLOPs” is the square of the hidden size. Mean ± standard deviation over splits."
    )
    return Table(
        "table_2", "Table 2: model size and validation loss",
        [*heads, *(q.label for q in quantities)], rows, note, data,
    )  # fmt: skip


def against(trials: Trials) -> Table:
    """A row a model: decoders, and encoder-decoders of the same number of parameters."""
    rows, data = [], {}
    quantities = (LEAST, BY_CHARACTER, EXACT)
    for d, other in EQUAL.items():
        for kind, parameters in (
            (DECODERS[d], count.translation_decoder(d, LAYERS, 30) + 30 * d),
            (ENCODER_DECODERS[other], count.encoder_decoder(other, ENCODER_LAYERS, 30)),
        ):
            if of := kind.of(trials):
                texts, numbers = cells_of(quantities, of)
                rows.append([kind.label, f"{parameters:,}", str(len(of)), *texts])
                data[kind.label] = {"parameters": parameters, "spreads": numbers}
    heads = ["", "parameters", "splits", *(q.label for q in quantities)]
    note = (
        "All parameters, embeddings too. The same words in the same batches, 100 epochs. Mean ± "
        "standard deviation over splits."
    )
    return Table("against", "Decoder-only and encoder-decoder", heads, rows, note, data)


# --- what the seed says ---------------------------------------------------------------------------
LARGE = DECODERS[128]
CLAIMS = (
    *(Says("004, 2.3.1", f"Validation loss of hidden size {d}: {value}",
           one_of(LEAST, DECODERS[d], value)) for d, value in TABLE_2.items()),
    Says("004, 2.2.3", "The decoder's loss is 0.2", one_of(LEAST, LARGE, DECODER_ONLY), "004.5"),
    *(Says("004, 2.2.3", f"A decoder of {d} is better than an encoder-decoder as large",
           paired(LEAST, DECODERS[d], ENCODER_DECODERS[other]) < 0) for d, other in EQUAL.items()),
    *(Says("004, 2.3.1", f"{b} is better than {a}", paired(LEAST, DECODERS[b], DECODERS[a]) < 0)
      for a, b in pairwise(SIZES[:-1])),
    Says("004, 2.3.1", "128 is worse than 96", paired(LEAST, LARGE, DECODERS[96]) > 0),
    Says("004, 2.3.3", "For 1e15 FLOPs 1e10 parameters are best",
         scaling.optimal_parameters(DECODERS.values()), "004.8"),
    Says("004, 2.3.4", "The model of 2.2.3 has too many parameters for its FLOPs",
         scaling.compute_optimal(DECODERS.values()), "004.9"),
)  # fmt: skip

TITLE = "Pig Latin by a decoder: against an encoder-decoder, and scaling"
EXPERIMENT = Experiment("decoder_only", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
