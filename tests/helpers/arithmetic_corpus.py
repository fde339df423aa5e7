"""Verbal arithmetic in the files of the course, and texts to pretrain on: all made here."""

from experiments.data import arithmetic


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
