"""A corpus of three speakers in the files of the real one: each has ten words of its own."""


def write_corpus(folder, rng, tokens=90):
    """tokens: of each text; one more, the last, is in no vocabulary."""
    words = [f"w{i:02}" for i in range(40)]

    def sentence(speaker):
        known = [*range(10), *range(10 * (speaker + 1), 10 * (speaker + 2))]
        return [words[rng.choice(known)] for _ in range(rng.integers(1, 12))]

    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("train_CLS", 30), ("test_CLS", 60)):
        lines = [f"{i % 3}\t{' '.join(sentence(i % 3))}" for i in range(n)]
        (folder / f"{name}.tok.tsv").write_text("\n".join(lines) + "\n")
    for name in ("train_LM", "test_LM_obama", "test_LM_hbush", "test_LM_wbush"):
        text = [words[i] for i in rng.integers(0, 40, tokens)] + ["unheard"]
        (folder / f"{name}.tok").write_text("\n".join(text) + "\n")
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder
