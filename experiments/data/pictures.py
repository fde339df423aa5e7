"""Pictures with captions: emoji in the styles of two makers, and the stamps of Tux Paint.

Three commands make the folder:

    npm install --prefix FOLDER emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 \
        emojibase-data@17.0.0
    apt-get download tuxpaint-stamps-default
    dpkg -x tuxpaint-stamps-default_*.deb FOLDER

    pictures = read(Path("FOLDER"))
    pictures.styles["google"][0], pictures.emoji[0].name      # (64, 64, 3), "hash key"

Google's emoji (Noto) are under Apache-2.0, Twitter's (Twemoji) under CC-BY 4.0, the stamps, of many
authors, under GPL-2, the words of emojibase under MIT. Emoji in other skin tones are left out: they
are five more pictures of one thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.place import content_of, place_in

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

SIZE = 64  # of all pictures, in pixels; emoji come so
MAKERS = {"google": "Google's emoji (Noto), Apache-2.0", "twitter": "Twemoji, CC-BY 4.0"}
STAMPS = "Tux Paint's stamps, GPL-2"
SOURCE = "emoji-datasource-google, emoji-datasource-twitter, emojibase-data and Tux Paint's stamps"
MODULES, STAMP_FOLDER = Path("node_modules"), Path("usr", "share", "tuxpaint", "stamps")
FOLDERS = ("", "pictures")
MODES = ("RGB", "RGBA", "P", "L", "LA")


@dataclass(frozen=True)
class Emoji:
    """An emoji without its pictures.

    name:     that of the Unicode standard, which never changes: "mouse face".
    label:    what emojibase calls it, which is often plainer; the name where it has none.
    tags:     single words that emojibase has for it.
    category: one of nine, such as "Animals & Nature".
    family:   what its variants have in common, such as the same activity of a man and of a woman.
    """

    name: str
    label: str
    tags: tuple[str, ...]
    category: str
    family: str


@dataclass(frozen=True)
class Stamps:
    """N stamps: pictures (N, SIZE, SIZE, 3), a caption and a kind, the folder, of each."""

    pictures: Bytes
    captions: tuple[str, ...]
    kinds: tuple[str, ...]
    names: tuple[str, ...]  # of their files


@dataclass(frozen=True)
class Pictures:
    """All of the data. styles: pictures (N, SIZE, SIZE, 3) of the emoji by their maker."""

    emoji: tuple[Emoji, ...]
    styles: Mapping[str, Bytes]
    stamps: Stamps


def read(folder: Path) -> Pictures:
    """The data in a folder. ValueError says in one line what is missing, or wrong and where."""
    modules, stamps = find(folder)
    words = read_words(modules / "emojibase-data" / "en" / "data.json")
    path = modules / "emoji-datasource-google" / "emoji.json"
    entries = [each for each in read_list(path) if all(drawn(each, path))]
    if not entries:
        raise ValueError(f"{path}: expected emoji that {' and '.join(MAKERS)} have drawn, got none")
    emoji = tuple(emoji_of(entry, words, path) for entry in entries)
    styles = {
        maker: np.stack([emoji_picture(modules, maker, each["image"]) for each in entries])
        for maker in MAKERS
    }
    return Pictures(emoji, styles, read_stamps(stamps))


def find(folder: Path) -> tuple[Path, Path]:
    """Where the packages of emoji are, and where the stamps."""
    parts = (MODULES, STAMP_FOLDER)
    holds = lambda place: all((place / part).is_dir() for part in parts)
    place = place_in(folder, FOLDERS, holds, SOURCE, f" in {MODULES} and {STAMP_FOLDER}")
    return place / MODULES, place / STAMP_FOLDER


# --- emoji ----------------------------------------------------------------------------------------
Words = tuple[str, tuple[str, ...]]
KEYS = ("name", "image", "unified", "category", "subcategory")


def drawn(entry: Mapping[str, Any], path: Path) -> list[bool]:
    """Whether each maker has drawn it. ValueError for something that is no emoji."""
    if not all(isinstance(entry.get(key), str) for key in KEYS):
        raise ValueError(f"{path}: expected {', '.join(KEYS)} of each emoji, got {entry!r:.60}")
    return [entry.get(f"has_img_{maker}") is True for maker in MAKERS]


def emoji_of(entry: Mapping[str, str], words: Mapping[str, Words], path: Path) -> Emoji:
    name = entry["name"].lower()
    if not name.strip():
        raise ValueError(f"{path}: expected a name of {entry['unified']}, got an empty one")
    label, tags = words.get(plain_code(entry["unified"]), (name, ()))
    return Emoji(name, label, tags, entry["category"], family_of(entry))


def emoji_picture(modules: Path, maker: str, name: str) -> Bytes:
    path = modules / f"emoji-datasource-{maker}" / "img" / maker / str(SIZE) / name
    picture = open_picture(path)
    if picture.size != (SIZE, SIZE):
        width, height = picture.size
        raise ValueError(f"{path}: expected {SIZE} x {SIZE} pixels, got {width} x {height}")
    return on_white(picture)


def read_words(path: Path) -> dict[str, Words]:
    """Label and tags of each emoji by its code points."""
    found: dict[str, Words] = {}
    for entry in read_list(path):
        label, code, tags = (entry.get(key) for key in ("label", "hexcode", "tags"))
        if not isinstance(label, str) or not isinstance(code, str):
            raise ValueError(f"{path}: expected label and hexcode, got {entry!r:.60}")
        found[plain_code(code)] = label.lower(), tuple(map(str, tags or ()))
    return found


def plain_code(code: str) -> str:
    """Code points without the one that asks for colours, which not all lists write."""
    return "-".join(point for point in code.split("-") if point != "FE0F")


# Code points that make variants: of a person by age, all that make another of a person, and what
# joins points, says a gender or a direction, or asks for colours.
PERSONS = {
    **dict.fromkeys(("1F468", "1F469", "1F9D1"), "adult"),
    **dict.fromkeys(("1F466", "1F467", "1F9D2"), "child"),
    **dict.fromkeys(("1F474", "1F475", "1F9D3"), "old"),
}
JOINING = {"200D", "FE0F", "2640", "2642", "27A1"}
WHOLE = ("country-flag", "subdivision-flag", "keycap")  # subcategories that are families, and
NAMED = ("family", "clock face")  # so are emoji whose names begin so


def family_of(entry: Mapping[str, str]) -> str:
    """Equal for emoji that differ in gender or direction, and for all flags, keycaps, clocks and
    families of people."""
    kind, name = entry["subcategory"], entry["name"].lower()
    if kind in WHOLE:
        return "flag" if kind.endswith("flag") else kind
    if named := [each for each in NAMED if name.startswith(each)]:
        return named[0]
    first, *rest = entry["unified"].split("-")
    points = [first, *(point for point in rest if point not in JOINING)]
    return "-".join(PERSONS.get(point, point) for point in points)


def split(emoji: Sequence[Emoji], share: float, largest: int, seed: int) -> tuple[Ints, Ints]:
    """Numbers of the emoji to train on and of those held out, with each family on one side.

    At least `share` of all are held out. A family of more than `largest` is never: there would be
    little else to test on.
    """
    families: dict[str, list[int]] = {}
    for number, each in enumerate(emoji):
        families.setdefault(each.family, []).append(number)
    order = np.random.default_rng([seed, 4]).permutation(len(families))
    members, out = [*families.values()], []
    for i in order:
        if len(out) >= share * len(emoji):
            break
        out += members[i] if len(members[i]) <= largest else []
    held_out = np.sort(np.array(out, dtype=np.int64))
    return np.setdiff1d(np.arange(len(emoji)), held_out), held_out


# --- stamps ---------------------------------------------------------------------------------------
def read_stamps(folder: Path) -> Stamps:
    """Every PNG that has a caption, the first line of the text of its name."""
    texts = {path: path.with_suffix(".txt") for path in sorted(folder.rglob("*.png"))}
    found = {path: caption_in(text) for path, text in texts.items() if text.exists()}
    if not found:
        raise ValueError(f"{folder}: expected stamps, PNG files with captions in .txt, got none")
    return Stamps(
        pictures=np.stack([fitted(open_picture(path)) for path in found]),
        captions=tuple(found.values()),
        kinds=tuple(path.relative_to(folder).parts[0] for path in found),
        names=tuple(path.stem for path in found),
    )


def caption_in(path: Path) -> str:
    caption = content_of(path, SOURCE).split("\n", 1)[0].strip()
    if not caption:
        raise ValueError(f"{path}: expected a caption in its first line, got an empty one")
    return caption


# --- files ----------------------------------------------------------------------------------------
def read_list(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(content_of(path, SOURCE))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON ({error})") from None
    objects = isinstance(content, list) and all(isinstance(each, dict) for each in content)
    if not objects or not content:
        raise ValueError(f"{path}: expected a list of objects in JSON, got {content!r:.40}")
    return content


def open_picture(path: Path) -> Any:
    """A picture of Pillow's, decoded, in one of `MODES`."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as picture:
            picture.load()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it belongs to {SOURCE}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: expected a PNG file ({error})") from None
    if picture.mode not in MODES:
        raise ValueError(f"{path}: expected mode {' or '.join(MODES)}, got {picture.mode}")
    return picture


def on_white(picture: Any) -> Bytes:
    """(H, W, 3): what is transparent is white."""
    from PIL import Image

    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def fitted(picture: Any) -> Bytes:
    """(SIZE, SIZE, 3): as large as fits, in the middle of a white square."""
    from PIL import Image

    scale = SIZE / max(picture.size)
    width, height = (max(1, round(scale * side)) for side in picture.size)
    small = picture.convert("RGBA").resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SIZE, SIZE), (255, 255, 255, 0))
    square.paste(small, ((SIZE - width) // 2, (SIZE - height) // 2))
    return on_white(square)
