"""The settings and the numbers of seed 002, from its tables."""

from __future__ import annotations

from typing import NamedTuple


class Run(NamedTuple):
    """One of the twelve experiments."""

    model: str
    layers: int
    optimizer: str
    # table 1: the least validation perplexity, the training perplexity of that epoch, which one
    val: float
    train: float
    epoch: int
    seconds: float  # table 2: of training
    megabytes: float  # table 3: of a V100's memory, on average


RUNS = {
    1: Run("lstm", 1, "adam", 144.2296, 81.0613, 9, 392.5, 4457.7),
    2: Run("lstm", 1, "adamw", 145.1958, 81.3694, 9, 391.52, 4484.2),
    3: Run("lstm", 1, "sgd", 2173.3796, 2322.206, 9, 389.04, 3881.9),
    4: Run("lstm", 1, "momentum", 1654.2252, 1748.5392, 9, 389.46, 4484.2),
    5: Run("gpt", 1, "adam", 146.66129, 86.21779, 4, 396.97, 4716.0),
    6: Run("gpt", 1, "adamw", 146.41322, 86.1315, 4, 397.35, 4716.0),
    7: Run("gpt", 1, "sgd", 1500.89078, 1617.57659, 9, 393.01, 4335.6),
    8: Run("gpt", 1, "momentum", 679.82338, 714.16387, 9, 395.26, 4716.0),
    9: Run("lstm", 2, "adamw", 141.3318, 82.7597, 6, 499.98, 4553.6),
    10: Run("lstm", 4, "adamw", 159.6651, 95.2801, 8, 647.0, 4691.2),
    11: Run("gpt", 2, "adamw", 433.99818, 430.98058, 9, 506.06, 5052.4),
    12: Run("gpt", 4, "adamw", 1478.83723, 1552.26473, 9, 718.8, 5705.2),
}

DECAY = 5e-4  # of all optimizers but adam, which has none

# By how much the seed's program shrinks the logarithms of perplexities, since it divides the loss
# of a last, short batch by the tokens of a full one: 2,356,375 training and 245,045 validation
# targets by those of 576 and 60 batches of 16 * 256.
TRAIN_SHARE = 2_356_375 / (576 * 16 * 256)
VAL_SHARE = 245_045 / (60 * 16 * 256)


def corrected(perplexity: float, share: float) -> float:
    """The perplexity that the seed would have printed without that."""
    return float(perplexity ** (1 / share))
