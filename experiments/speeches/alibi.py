"""Positions in seed 003, section 3.1: learned, ALiBi, and none, in both tasks.

    python -m experiments.speeches.alibi --data FOLDER --scale small
    python -m experiments.speeches.alibi --data FOLDER

Figures 8, 9 and 10 and tables 4 and 5. Without a model that has no positions "ALiBi improves" could
not be told from "learned positions hurt". The language models are read in windows of 32, 64 and 128
tokens, over the same tokens; where only 32 positions were learned, the last one serves for all
later places, or they begin again. Times are those of the trials of a seed, one after the other:
only `--launcher here` on a quiet machine tells them apart.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from experiments.results.claims import Says, Test, all_of, decide, paired
from experiments.results.curves import Quantity
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell, spread_table
from experiments.results.trials import Group, Trials, by_group, finished
from experiments.speeches import options
from experiments.speeches.measures import (
    ALIBI,
    GAP,
    LEARNED,
    LEARNT,
    NONE,
    POSITIONS,
    SECONDS,
    TEST,
    TEXTS,
    as_the_seed,
    by_record,
    classifiers,
    exp,
    language_models,
    logarithm,
    number,
    perplexity,
)
from experiments.speeches.task import BANDS
from experiments.sweep.experiment import Experiment, main
from experiments.train.trial import Trial
