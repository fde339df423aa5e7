"""Words made of random syllables with their Pig Latin, in the files of the real ones."""


def latin(word):
    first = next((i for i, c in enumerate(word) if c in "aeiou"), len(word))
    return word + "way" if first == 0 else word[first:] + word[:first] + "ay"


def write_words(folder, rng, small=60, large=200):
    words = set()
    while len(words) < large:
        syllables = rng.choice(["a", "be", "i", "str", "to", "ug"], rng.integers(1, 4))
        words.add("".join(syllables))
        if len(words) > 190:
            words.add(f"x{len(words)}".translate(str.maketrans("0123456789", "abcdefghij")))
    words = rng.permutation(sorted(words))[:large]
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("small", small), ("large", large)):
        lines = [f"{word} {latin(word)}" for word in words[:n]]
        (folder / f"pig_latin_{name}.txt").write_text("\n".join(lines) + "\n")
    return folder
