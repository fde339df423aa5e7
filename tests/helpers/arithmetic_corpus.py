"""Verbal arithmetic in the files of the course, texts to pretrain on, and a checkpoint of BERT in
Hugging Face's: all made here."""

import json

import numpy as np

import minigrad as mg
from experiments.data import arithmetic
from models import BERT, BertConfig
from models.hugging_face import SIZES, SPECIAL, names_of

# in the place of MiniLM's: sizes, and words that include those of the data
SMALL = {"layers": 1, "d": 12, "heads": 2, "hidden": 16}
VOCABULARY = [*SPECIAL, *(f"w{i}" for i in range(9)), *arithmetic.WORDS, "##teen"]


def write_arithmetic(folder, rng):
    """All 800 expressions, 640 of them to learn from."""
    texts = [*arithmetic.every_expression()]
    order = rng.permutation(len(texts))
    place = folder / "verbal_arithmetic"
    place.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", order[:640]), ("test", order[640:])):
        lines = [",input,label"]
        for i in rows:
            value = arithmetic.value_of(texts[i])
            lines.append(f"{i},{texts[i]},{(value > 0) - (value < 0) + 1}")
        (place / arithmetic.FILES[name]).write_text("\n".join(lines) + "\n")
    return folder


def write_texts(folder, rng, words=400):
    """numbers/made.txt and unrelated/made.txt, of so many words each."""
    known = {
        "numbers": [*arithmetic.WORDS, "is", "less", "than", "."],
        "unrelated": [*(f"w{chr(97 + i)}" for i in range(20)), "one", "minus", "!"],
    }
    for kind, of_kind in known.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        text = " ".join(rng.choice(of_kind, words))
        (folder / kind / "made.txt").write_text(text + "\n")
    return folder


def write_checkpoint(folder, vocabulary=VOCABULARY):
    """A folder like MiniLM's, of an encoder of the sizes of SMALL."""
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(len(vocabulary), **SMALL)
    sizes = {theirs: getattr(config, ours) for ours, theirs in SIZES.items()}
    about = {"model_type": "bert", "hidden_act": "gelu", **sizes}
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    mg.random.seed(7)
    state = BERT(config).state_dict()
    arrays = {}
    for ours, theirs in names_of(config).items():
        arrays |= zip(theirs, np.split(state[ours], len(theirs)), strict=True)
    mg.save(arrays, folder / "model.safetensors")
    return folder
