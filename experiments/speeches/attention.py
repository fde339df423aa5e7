"""What the two models of speeches attend to: maps of two sentences, and numbers over test sets.

A trial leaves both in attention.json when it ends, so that figures and tables need neither its
checkpoint nor the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from experiments.data.speeches import Ints
from experiments.speeches.task import AT_ONCE, Classify, ClassifyTask, Predict, PredictTask, data
from experiments.train import records
from experiments.train.records import TrialRecord
from experiments.train.task import Task
from minigrad import device as devices

FILE = "attention.json"
SENTENCE = 8  # row of the training set: "These virtues give me an unshakable faith in America ."

Weights = np.ndarray[Any, np.dtype[np.floating[Any]]]
Read = Callable[[Ints, Ints], Weights]  # ids (B, T), lengths (B,) -> (L, B, heads, T, T)


@dataclass(frozen=True)
class ClassifyAndLook(Classify):
    """A classifier that leaves what it attends to, in every sentence of the test set."""

    def task(self, device: str) -> Task:
        return LookingClassifyTask(self, device)


class LookingClassifyTask(ClassifyTask):
    def leave(self, folder: Path) -> None:
        def read(ids: Ints, lengths: Ints) -> Weights:
            given = (mg.tensor(a, device=self.device) for a in (ids, lengths))
            return arrays(self.model(*given, return_weights=True)[1])

        test = data(self.trial.block).test
        write(folder, read, self.trial.block, test.ids, test.lengths, causal=False)


@dataclass(frozen=True)
class PredictAndLook(Predict):
    """A language model that leaves what it attends to, in test texts cut into windows."""

    def task(self, device: str) -> Task:
        return LookingPredictTask(self, device)


class LookingPredictTask(PredictTask):
    def leave(self, folder: Path) -> None:
        super().leave(folder)

        def read(ids: Ints, lengths: Ints) -> Weights:
            ids = ids[:, : lengths.max()]  # of one sentence without its padding
            return arrays(self.model(mg.tensor(ids, device=self.device), return_weights=True)[1])

        block = self.block
        parts = [text[: len(text) // block * block] for text in self.tests.values()]
        windows = np.concatenate(parts).reshape(-1, block)
        lengths = np.full(len(windows), block)
        write(folder, read, block, windows, lengths, causal=True)


def arrays(attentions: list[mg.Tensor]) -> Weights:
    """(L, B, heads, T, T), on the host."""
    return np.stack([devices.to_numpy(a.data) for a in attentions])


def write(folder: Path, read: Read, block: int, ids: Ints, lengths: Ints, *, causal: bool) -> None:
    """Leave `attention_of`. ids: (N, T) what the statistics are over; lengths: (N,) of each."""
    parts: list[dict[str, Weights]] = []
    evenly: list[dict[str, Weights]] = []
    for i in range(0, len(ids), AT_ONCE):
        some, n = ids[i : i + AT_ONCE], lengths[i : i + AT_ONCE]
        parts.append(statistics(read(some, n), n))
        evenly.append(statistics(even(ids.shape[1], causal), n))
    attention = {
        "maps": maps(read, block),
        "statistics": {name: mean(parts, name).round(6).tolist() for name in parts[0]},
        "even": {name: round(float(mean(evenly, name).item()), 6) for name in parts[0]},
    }
    records.write_json(folder / FILE, attention)


def mean(parts: list[dict[str, Weights]], name: str) -> Weights:
    """(L, heads), over all sequences."""
    return np.concatenate([part[name] for part in parts], axis=1).mean(axis=1, dtype=np.float64)


def even(n: int, causal: bool) -> Weights:
    """(1, 1, 1, n, n): all keys that may be read get the same."""
    weights = np.tril(np.ones((n, n))) if causal else np.ones((n, n))
    return (weights / weights.sum(axis=-1, keepdims=True))[None, None, None]


def statistics(weights: Weights, lengths: Ints) -> dict[str, Weights]:
    """(L, B, heads) numbers by name, of attention (L, B or 1, heads, T, T) to B sequences.

    Means over the queries of a sequence, without its padding:
    distance:  between query and key, in tokens.
    within_N:  share of the keys at most N tokens away.
    entropy:   of the weights of a query, in nats.
    before:    share of the queries, but for the first, that read the token before them most.
    padding:   share of the keys after the end.
    And most_read: the share that the token gets which gets most, in the mean over queries.
    """
    n = weights.shape[-1]
    places = np.arange(n)
    apart = np.abs(places[:, None] - places)
    real = (places < lengths[:, None])[None, :, None]  # (1, B, 1, T)
    length = lengths[None, :, None]

    def over_queries(values: Any) -> Weights:
        return (values * real).sum(axis=-1) / length

    columns = (weights * real[..., None]).sum(axis=-2) / length[..., None]  # of each key
    most = weights[..., 1:, :].argmax(axis=-1) == places[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(weights > 0, np.log(weights), 0.0)
    return {
        "distance": over_queries((weights * apart).sum(axis=-1)),
        "within_1": over_queries((weights * (apart <= 1)).sum(axis=-1)),
        "within_2": over_queries((weights * (apart <= 2)).sum(axis=-1)),
        "entropy": over_queries(-(weights * logs).sum(axis=-1)),
        "most_read": (columns * real).max(axis=-1),
        "before": (most * real[..., 1:]).sum(axis=-1) / np.maximum(1, length - 1),
        "padding": (columns * ~real).sum(axis=-1),
    }


def maps(read: Read, block: int) -> list[dict[str, Any]]:
    """What the first and the last layer attend to in the seed's sentence and in one of the test
    set: the first with as many tokens, or the first of all.

    tokens, set: of the sentence.    weights: (2, heads, n, n) in lists.
    """
    source = data(block)
    n = source.train.lengths[SENTENCE]
    alike = np.flatnonzero(source.test.lengths == n)
    chosen = (("training", source.train, SENTENCE), ("test", source.test, [*alike, 0][0]))
    found = []
    for name, part, row in chosen:
        length = int(part.lengths[row])
        weights = read(part.ids[row : row + 1], part.lengths[row : row + 1])[[0, -1], 0]
        weights = weights[..., :length, :length].astype(np.float64).round(6)
        tokens = part.tokens[row][:length]
        found.append({"set": name, "tokens": tokens, "weights": weights.tolist()})
    return found


# --- what was left --------------------------------------------------------------------------------
def attention_of(trial: TrialRecord) -> dict[str, Any]:
    """maps: see `maps`.    statistics: by name, (L, heads) means over the test set.
    even: the same numbers if each query read all that it may read evenly."""
    return records.read_json(trial.folder / FILE)


def statistic(trial: TrialRecord, name: str) -> Weights:
    """(L, heads)"""
    return np.array(attention_of(trial)["statistics"][name])
