"""A folder of pictures as the packages make it: coloured shapes with their names as captions."""

import json
from itertools import product

from PIL import Image, ImageDraw

COLORS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 220),
          "orange": (240, 150, 30), "black": (20, 20, 20), "purple": (140, 50, 160)}  # fmt: skip
SHAPES = ("circle", "square", "bar", "ring")
MAKERS = ("google", "twitter")
STAMPS = "usr/share/tuxpaint/stamps"


def draw(color, shape, size=(64, 64), inside=0.15, mode="RGBA"):
    """A shape on a transparent ground. inside: how far from the edge it begins."""
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    (width, height), pen = size, ImageDraw.Draw(picture)
    box = [inside * width, inside * height, (1 - inside) * width, (1 - inside) * height]
    fill = (*COLORS[color], 255)
    if shape == "bar":
        box[1::2] = 0.4 * height, 0.6 * height
    if shape == "ring":
        pen.ellipse(box, outline=fill, width=max(2, width // 10))
    else:
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=fill)
    return picture if mode == "RGBA" else picture.convert(mode)


def emoji_of(number, color, shape):
    """An entry of emoji.json."""
    code = f"1F{number:03X}"
    return {
        "name": f"{color} {shape}".upper(), "image": f"{code.lower()}.png", "unified": code,
        "category": "Symbols" if shape in ("circle", "ring") else "Objects",
        "subcategory": "geometric", "has_img_google": True, "has_img_twitter": True,
    }  # fmt: skip


def write_pictures(folder):
    """24 emoji in two styles and 9 stamps, of which one is a clownfish. Returns the folder."""
    modules = folder / "node_modules"
    entries = [emoji_of(i, *each) for i, each in enumerate(product(COLORS, SHAPES))]
    for maker, inside in zip(MAKERS, (0.15, 0.25), strict=True):
        place = modules / f"emoji-datasource-{maker}" / "img" / maker / "64"
        place.mkdir(parents=True)
        for entry, (color, shape) in zip(entries, product(COLORS, SHAPES), strict=True):
            draw(color, shape, inside=inside).save(place / entry["image"])
    (modules / "emoji-datasource-google" / "emoji.json").write_text(json.dumps(entries))
    words = [
        {"label": f"{shape} in {color}", "hexcode": entry["unified"], "tags": [color, shape]}
        for entry, (color, shape) in zip(entries, product(COLORS, SHAPES), strict=True)
    ]
    (modules / "emojibase-data" / "en").mkdir(parents=True)
    (modules / "emojibase-data" / "en" / "data.json").write_text(json.dumps(words))
    for kind, (color, shape) in product(("shapes", "signs"), zip(COLORS, SHAPES, strict=False)):
        write_stamp(folder, f"{kind}/{color}", f"A {color} {shape}.", draw(color, shape, (90, 60)))
    write_stamp(folder, "animals/clownfish", "A clownfish.", draw("orange", "bar", (50, 70)))
    return folder


def write_stamp(folder, name, caption, picture):
    path = folder / STAMPS / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    text = f"{caption}\nde.utf8=Etwas anderes.\n"
    path.with_suffix(".txt").write_text(text, encoding="utf-8")
