"""The sanity check of seeds 000 and 001 (questions 4.1 and 4.2): LSTM against GPT.

    python -m experiments.sanity --scale small     # half a minute: shows that everything works
    python -m experiments.sanity --device cuda     # the whole experiment
    python -m experiments.sanity --replicas --seeds 0 1 2 3 --device cuda   # all seeds at once
    python -m experiments.sanity --resume          # go on after Ctrl-C, or make figures again

Both models learn a + b mod 31 from half of all sums, with two seeds each. The results are the
curves of question 4.1 (sanity.png) and the table of 4.2 beside the numbers of both seed documents
(results.md). Attention maps (4.8) are an experiment of their own, `experiments.attention_maps`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from experiments import sweep
from experiments.records import TrialRecord
from experiments.results import Drawing, Results
from experiments.sweep import Experiment
from experiments.table import best_table, claims
from experiments.training import Trial


@dataclass(frozen=True)
class Options(sweep.Options):
    """Questions 4.1 and 4.2: all as in the seeds."""

    def trials(self) -> dict[str, Trial]:
        return {
            f"{model}-seed{seed}": self.trial(model=model, seed=seed)
            for seed in self.seeds
            for model in self.models
        }


def results(trials: Sequence[TrialRecord]) -> Results:
    from experiments.figures import curves  # matplotlib takes a second to import

    caption = (
        "Loss and accuracy on training and validation set: mean over seeds, ± one standard "
        "deviation as a band."
    )
    return Results(
        tables=[best_table(trials)],
        drawings=[Drawing("sanity", caption, curves(trials))],
        claims=claims(trials),
    )


EXPERIMENT = Experiment("sanity", "Sanity check: LSTM and GPT on a + b mod 31", Options, results)

if __name__ == "__main__":
    sys.exit(sweep.main(EXPERIMENT, description=__doc__))
