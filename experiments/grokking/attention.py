"""What a GPT attends to while it reads an equation (question 4.8 of seeds 000 and 001)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from experiments.data import modular
from experiments.data.modular import Equations
from experiments.grokking.task import data_of, load_model
from experiments.train import records
from experiments.train.records import CHECKPOINT, TrialRecord

EQUATIONS = ("6 + 19 = 25", "8 + 8 = 16", "0 + 3 = 3")  # 000: the first two; 001: the third
FIRST, SECOND, EQUALS, ANSWER = 1, 3, 4, 5  # positions in BOS a + b = r
FILE = "attention.json"
PLACES = ("BOS", "a", "+", "b", "=", "r", "EOS", "PAD")

Weights = np.ndarray[Any, Any]  # (L, heads, S, S): attention of query i to key j


def write_attention(trial: TrialRecord) -> bool:
    """Write the attention of a trial's model to attention.json, if there is a checkpoint.

    Returns whether the file exists. Figures and tables are made from it without the checkpoint.
    """
    path = trial.folder / FILE
    if not (trial.folder / CHECKPOINT).exists():
        return path.exists()
    settings, model, words = load_model(trial.folder)
    data = data_of(settings)
    usable = [equation for equation in EQUATIONS if {*equation.split()} <= {*words}]
    attention = {
        "step": records.read_json(trial.folder / "status.json")["step"],
        "inputs": [look(model, equation, data) for equation in usable],
        "mean": mean_over(model, data),
    }
    records.write_json(path, attention)
    return True


def attention_of(trial: TrialRecord) -> dict[str, Any]:
    """The contents of attention.json.

    step:   of the checkpoint.
    inputs: the result of `look` for each of `EQUATIONS` whose tokens are in the vocabulary.
    mean:   the weights averaged over all equations of two numbers, whose count is `equations`.
    """
    return records.read_json(trial.folder / FILE)


@mg.no_grad()
def look(model: Any, equation: str, data: tuple[Equations, Equations]) -> dict[str, Any]:
    """The attention of a GPT that reads an equation of two numbers, such as "6 + 19 = 25".

    data: the training and the validation set. ValueError for a token outside the vocabulary.

    Returns a dict of
    tokens:    the input, padded as in the data.
    set:       the set of the equation, "training" or "validation"; "neither" if it is wrong.
    predicted: the two tokens predicted after "=" and after the answer.
    weights:   (L, heads, S, S) as nested lists.
    """
    words, length = data[0].vocabulary, data[0].inputs.shape[1]
    text = f"BOS {equation} EOS"
    tokens = [*text.split(), *["PAD"] * length][:length]
    ids = modular.encode(" ".join(tokens), words)
    logits, _, attentions = model(mg.tensor(ids[None]), return_hidden=True)
    predicted = np.argmax(logits.numpy()[0, EQUALS : ANSWER + 1], axis=-1)
    parts = zip(("training", "validation"), data, strict=True)
    sets = [name for name, part in parts if (part.inputs == ids).all(axis=1).any()]
    return {
        "tokens": tokens,
        "set": sets[0] if sets else "neither",
        "predicted": " ".join(words[i] for i in predicted),
        "weights": in_lists(attentions.numpy()[0]),
    }


@mg.no_grad()
def mean_over(model: Any, data: tuple[Equations, Equations]) -> dict[str, Any]:
    """The mean of the attention to all equations of two numbers, in either set."""
    inputs = np.concatenate([part.inputs[part.order == 2] for part in data])
    _, _, attentions = model(mg.tensor(inputs), return_hidden=True)
    weights = in_lists(attentions.numpy().mean(axis=0, dtype=np.float64))
    tokens = PLACES[: inputs.shape[1]]
    return {"tokens": list(tokens), "equations": len(inputs), "weights": weights}


def in_lists(weights: Weights) -> list[Any]:
    """Nested lists, rounded to six decimals: more than the accuracy of a float32 softmax."""
    return np.round(weights.astype(np.float64), 6).tolist()


def shares(weights: Weights) -> dict[str, np.ndarray[Any, Any]]:
    """(L, heads): the attention of the queries "=" and the answer to the two numbers."""
    parts = {}
    for name, query in (("=", EQUALS), ("r", ANSWER)):
        first, second = weights[..., query, FIRST], weights[..., query, SECOND]
        parts |= {f"{name} a": first, f"{name} b": second, f"{name} both": first + second}
    return parts


def mean_shares(trial: TrialRecord) -> dict[str, np.ndarray[Any, Any]]:
    """The `shares` of a trial, averaged over all equations of two numbers."""
    return shares(np.array(attention_of(trial)["mean"]["weights"]))
