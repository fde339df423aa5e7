"""How much the wording of a caption decides: what a trained CLIP leaves beside its records.

`retrieval.json` has what tables and figures need; `gallery.safetensors` what a page needs in which
a caption can be typed: pictures, small, their vectors, and the vocabulary. The first is text and
numbers, the second contains pictures of others, so it is not for passing on without their licences.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.attention import retrieval
from experiments.data.pictures import MAKERS, STAMPS, Bytes
from experiments.train import records
from minigrad.files import save

if TYPE_CHECKING:
    from experiments.attention.pairs import Floats, PairsTask

RETRIEVAL, GALLERY = "retrieval.json", "gallery.safetensors"
DOZEN = 12  # pairs in the matrix of similarities
SHOWN = 3  # captions of the pictures that a prompt finds first
THUMBNAIL, COLUMNS = 40, 32  # pixels of a picture in the gallery, and pictures in a row of it
QUALITY = 60  # of the gallery, a WebP

TARGET = "clownfish"  # the stamp that prompts should find: Nemo is one
PROMPTS = (
    "A clownfish.", "clownfish", "clownfishes", "two clownfish", "a picture of a clownfish",
    "goldfish", "two goldfish", "nemo", "two nemo", "nemos", "two nemos",
    "fish", "two fish", "an orange fish", "an orange fish with white stripes",
)  # fmt: skip
# of the plain caption, such as "clownfish"
TEMPLATES: dict[str, Callable[[str], str]] = {
    "plain": lambda noun: noun,
    "a picture of": lambda noun: f"a picture of {noun}",
    "plural": lambda noun: f"{noun}s",
    "two": lambda noun: f"two {noun}",
    "two, plural": lambda noun: f"two {noun}s",
}
NAMES = "another name"  # of emoji: the Unicode name in the place of the label
NUMBERS = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
COUNTED = re.compile(rf"\b(?:{NUMBERS}) (?:\w+ )?(?:men|women|people|\w+[a-rt-z]s)\b")


def leave(task: PairsTask, folder: Path) -> None:
    """Write both files. The task's model is in evaluation mode, and nothing is recorded."""
    stamps = task.source.stamps
    held_out = task.source.styles["google"][task.held_out]
    of_emoji, of_stamps = task.embed_pictures(held_out), task.embed_pictures(stamps.pictures)
    found = {
        "pairs": pairs(task),
        "matrix": matrix(task, of_emoji),
        "templates": {
            "emoji": templates(task, of_emoji, [task.source.emoji[i].label for i in task.held_out],
                               [task.source.emoji[i].name for i in task.held_out]),
            "stamps": templates(task, of_stamps, [noun_of(each) for each in stamps.captions]),
        },
        "prompts": prompts(task, of_stamps),
    }  # fmt: skip
    records.write_json(folder / RETRIEVAL, found)
    captions = [*(task.source.emoji[i].name for i in task.held_out), *stamps.captions]
    about = {
        "captions": captions,
        "sources": [MAKERS["google"]] * len(held_out) + [STAMPS] * len(stamps.captions),
        "known": sum(len({*task.captions(task.source.emoji[i])}) for i in task.train),
        "pieces": task.words.pieces,
        "merges": task.words.merges,
    }
    tensors = {
        "vectors": np.concatenate([of_emoji, of_stamps]).astype(np.float16),
        "sheet": np.frombuffer(sheet([*held_out, *stamps.pictures]), dtype=np.uint8),
    }
    save(tensors, folder / GALLERY, {"about": json.dumps(about)})


# --- numbers --------------------------------------------------------------------------------------
def pairs(task: PairsTask) -> dict[str, Any]:
    """What there was to learn from and to test on, and which captions to learn from count."""
    emoji = task.source.emoji
    names = {text for i in task.train for text in (emoji[i].name, emoji[i].label)}
    text = " ".join(each for i in task.train for each in task.captions(emoji[i]))
    chances: dict[str, Any] = {}
    for name, (_, captions, kinds) in task.sets().items():
        distinct, of = retrieval.numbered(captions)
        chances[name] = {
            "pictures": len(of),
            "captions": len(distinct),
            **retrieval.chance(of, len(distinct)),
            "classes": len({*kinds}),
            "majority": max(map(kinds.count, {*kinds})) / len(kinds),
        }
    return {
        "emoji": len(emoji),
        "families": len({each.family for each in emoji}),
        "train": len(task.train),
        "held_out": len(task.held_out),
        "sets": chances,
        "counted": sorted(name for name in names if COUNTED.search(name)),
        "words": {
            word: len(re.findall(rf"\b{word}\b", text))
            for word in ("two", "fish", "clownfish", "goldfish", "nemo", "nemos")
        },
    }


def matrix(task: PairsTask, vectors: Floats) -> dict[str, Any]:
    """Cosine similarities of some held-out pictures with their captions, picture by caption."""
    random = np.random.default_rng([task.trial.seed, 7])
    count = min(DOZEN, len(vectors))
    chosen = np.sort(random.choice(len(vectors), count, replace=False))
    captions = [task.source.emoji[task.held_out[i]].name for i in chosen]
    similarities = vectors[chosen] @ task.embed_texts(captions).T
    return {"captions": captions, "similarities": np.round(similarities, 4).tolist()}


def noun_of(caption: str) -> str:
    """The caption of a stamp without article and full stop, if it is so short: else ""."""
    match = re.fullmatch(r"An? ((?:\w+ )?\w+)\.", caption)
    return match[1].lower() if match else ""


def templates(
    task: PairsTask, vectors: Floats, nouns: Sequence[str], names: Sequence[str] = ()
) -> dict[str, Any]:
    """Of each template: the share of pictures among the first ten, the median place, and how many
    doublings later than for the plain caption a picture comes, in the mean.

    nouns: plain captions of the pictures, of which empty ones are left out.
    names: other captions of the same.
    """
    ranks: dict[str, Any] = {}
    distinct, of = retrieval.numbered(nouns)
    asked = np.array([i for i, noun in enumerate(distinct) if noun])
    if not len(asked):
        return {"nouns": 0, "by": {}}
    for name, template in TEMPLATES.items():
        texts = task.embed_texts([template(distinct[i]) for i in asked])
        ranks[name] = picture_ranks(vectors @ texts.T, of, asked)
    if names:
        first = [names[nouns.index(distinct[i])] for i in asked]
        ranks[NAMES] = picture_ranks(vectors @ task.embed_texts(first).T, of, asked)
    later = {name: np.log2(r / ranks["plain"]) for name, r in ranks.items()}
    return {
        "nouns": len(asked),
        "by": {
            name: {
                "at_10": float((r <= 10).mean()),
                "median": float(np.median(r)),
                "later": float(later[name].mean()),
            }
            for name, r in ranks.items()
        },
    }


def picture_ranks(similarities: Floats, of: retrieval.Ints, asked: retrieval.Ints) -> Any:
    """`retrieval.picture_ranks` of columns that stand for the captions `asked` only."""
    places = np.full(of.max() + 1, -1)
    places[asked] = np.arange(len(asked))
    return retrieval.picture_ranks(similarities, places[of])


def prompts(task: PairsTask, vectors: Floats) -> list[dict[str, Any]]:
    """Of each prompt the place of the target among the stamps, and what comes first."""
    stamps = task.source.stamps
    right = np.array([name == TARGET for name in stamps.names])
    found: list[dict[str, Any]] = []
    for prompt, text in zip(PROMPTS, task.embed_texts(PROMPTS), strict=True):
        similarities = vectors @ text
        (rank,) = retrieval.picture_ranks(similarities[:, None], np.where(right, 0, -1))
        first = [stamps.captions[i] for i in np.argsort(-similarities, kind="stable")[:SHOWN]]
        found.append({"prompt": prompt, "rank": int(rank) if right.any() else None, "first": first})
    return found


# --- pictures -------------------------------------------------------------------------------------
def sheet(pictures: Sequence[Bytes]) -> bytes:
    """All pictures, small, in one WebP, `COLUMNS` in a row."""
    from PIL import Image

    rows = -(-len(pictures) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * THUMBNAIL, rows * THUMBNAIL), "white")
    for i, picture in enumerate(pictures):
        small = Image.fromarray(picture).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        row, column = divmod(i, COLUMNS)
        whole.paste(small, (column * THUMBNAIL, row * THUMBNAIL))
    data = io.BytesIO()
    whole.save(data, "webp", quality=QUALITY, method=6)
    return data.getvalue()
