"""Pictures with captions: a folder of coloured shapes, what is wrong with files, pieces of words,
and the real pictures where MINIGRAD_DATA names their folder."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="pictures need pillow")

from picture_folder import COLORS, STAMPS, draw, write_pictures, write_stamp
from PIL import Image

from experiments.attention.pieces import END, PADDING, SPECIAL, START, UNKNOWN, Vocabulary, words
from experiments.data import pictures
from experiments.data.pictures import Emoji, family_of, split

REAL = Path(os.environ.get("MINIGRAD_DATA", "nowhere"))
real = pytest.mark.skipif(
    not any((REAL / name / pictures.MODULES).is_dir() for name in pictures.FOLDERS),
    reason="the real pictures: MINIGRAD_DATA names no folder of them",
)
EMOJI = "node_modules/emoji-datasource-google/emoji.json"
WORDS = "node_modules/emojibase-data/en/data.json"
PICTURE = "node_modules/emoji-datasource-twitter/img/twitter/64/1f000.png"


@pytest.fixture
def folder(tmp_path):
    return write_pictures(tmp_path / "data")


# --- a small folder -------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["", "pictures"])
def test_pictures_come_with_their_words(tmp_path, place):
    write_pictures(tmp_path / place)
    data = pictures.read(tmp_path)
    assert len(data.emoji) == 24
    first = data.emoji[0]
    assert (first.name, first.label, first.tags) == (
        "red circle",
        "circle in red",
        ("red", "circle"),
    )
    assert first.category == "Symbols"
    assert {maker: p.shape for maker, p in data.styles.items()} == {
        "google": (24, 64, 64, 3), "twitter": (24, 64, 64, 3)
    }  # fmt: skip
    assert all(p.dtype == np.uint8 for p in data.styles.values())
    assert data.styles["google"][0, 32, 32].tolist() == [*COLORS["red"]]
    assert data.styles["google"][0, 0, 0].tolist() == [255] * 3  # what is transparent is white
    sizes = [(p[0] != 255).any(axis=-1).sum() for p in data.styles.values()]
    assert sizes[0] > sizes[1]  # the circles of the makers
    stamps = data.stamps
    assert len(stamps.captions) == len(stamps.kinds) == len(stamps.names) == 9
    assert (stamps.captions[0], stamps.kinds[0], stamps.names[0]) == (
        "A clownfish.", "animals", "clownfish"
    )  # fmt: skip
    assert {*stamps.kinds} == {"animals", "shapes", "signs"}


def test_a_stamp_of_any_size_is_fitted_into_the_middle(folder):
    write_stamp(folder, "a/wide", "Wide.", Image.new("RGB", (300, 30), "red"))
    write_stamp(folder, "a/tall", "Tall.", Image.new("RGB", (1, 500), "blue"))
    stamps = pictures.read(folder).stamps
    wide, tall = (stamps.pictures[stamps.names.index(name)] for name in ("wide", "tall"))
    red, blue = (np.array(c) for c in ((255, 0, 0), (0, 0, 255)))
    rows = np.flatnonzero((wide == red).all(axis=-1).all(axis=1))
    assert rows.tolist() == [*range(29, 35)]  # 6.4 rounded to 6, of 64
    assert (wide[~np.isin(np.arange(64), rows)] == 255).all()
    columns = np.flatnonzero((tall == blue).all(axis=-1).all(axis=0))
    assert columns.tolist() == [31]


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "LA"])
def test_modes_that_pictures_have(folder, mode):
    draw("black", "square", mode=mode).save(folder / PICTURE)
    assert pictures.read(folder).styles["twitter"][0, 32, 32].tolist() == [20, 20, 20]


def test_emoji_that_one_maker_lacks_and_stamps_without_a_caption_are_left_out(folder):
    entries = json.loads((folder / EMOJI).read_text())
    entries[0]["has_img_twitter"] = False
    del entries[1]["has_img_google"]
    (folder / EMOJI).write_text(json.dumps(entries))
    (folder / STAMPS / "signs" / "red.txt").unlink()
    data = pictures.read(folder)
    assert len(data.emoji) == len(data.styles["google"]) == 22
    assert len(data.stamps.captions) == 8


def test_an_emoji_without_a_label_has_its_name(folder):
    (folder / WORDS).write_text(json.dumps([{"label": "Other", "hexcode": "1F999", "tags": ["x"]}]))
    assert pictures.read(folder).emoji[3] == Emoji("red ring", "red ring", (), "Symbols", "1F003")


# --- families and the split -----------------------------------------------------------------------
def family(code, kind="x", name="X"):
    return family_of({"unified": code, "subcategory": kind, "name": name})


@pytest.mark.parametrize(
    ("codes", "kind", "name"),
    [
        (["1F3C3", "1F3C3-200D-2640-FE0F", "1F3C3-200D-2642-FE0F-200D-27A1-FE0F"], "person", "X"),
        (["1F468-200D-1F373", "1F469-200D-1F373", "1F9D1-200D-1F373"], "person-role", "X"),
        (["1F468", "1F469", "1F9D1"], "person", "X"),
        (["1F1E6-1F1E8", "1F1FF-1F1FC"], "country-flag", "X"),
        (["0023-FE0F-20E3", "0031-FE0F-20E3"], "keycap", "X"),
        (["2642-FE0F", "2642"], "gender", "X"),
        (["1F550", "1F551"], "time", "CLOCK FACE TWO OCLOCK"),
        (["1F46A", "1F9D1-200D-1F9D2"], "person-symbol", "FAMILY: ADULT, CHILD"),
    ],
)
def test_variants_are_one_family(codes, kind, name):
    assert len({family(code, kind, name) for code in codes}) == 1


def test_other_things_are_other_families():
    codes = ("2642-FE0F", "2640-FE0F", "27A1-FE0F", "1F468", "1F466", "1F474", "1F468-200D-1F373")
    assert len({family(code) for code in codes}) == len(codes)
    assert {family("1F3F4", f"{k}-flag") for k in ("country", "subdivision")} == {"flag"}
    assert family("1F3F4", "flag") == "1F3F4"


def test_families_are_on_one_side_and_large_ones_are_trained_on():
    sizes = [1] * 40 + [3] * 10 + [20]
    emoji = [Emoji("", "", (), "", str(i)) for i, size in enumerate(sizes) for _ in range(size)]
    splits = [split(emoji, 0.2, 12, seed) for seed in range(20)]
    for train, held_out in splits:
        assert sorted([*train, *held_out]) == [*range(90)]
        assert 18 <= len(held_out) <= 20
        assert not {emoji[i].family for i in train} & {emoji[i].family for i in held_out}
        assert not {emoji[i].family for i in held_out} & {"50"}
    assert len({tuple(held_out) for _, held_out in splits}) == 20
    again, _ = split(emoji, 0.2, 12, 0)
    np.testing.assert_array_equal(again, splits[0][0])


# --- mistakes -------------------------------------------------------------------------------------
def png(picture):
    return lambda path: picture.save(path, "PNG")


def entry(**changes):
    def write(path):
        entries = json.loads(path.read_text())
        entries[2] |= changes
        path.write_text(json.dumps(entries))

    return write


DAMAGES = {
    "a picture of another size": (
        PICTURE, png(draw("red", "ring", (72, 64))), "expected 64 x 64 pixels, got 72 x 64"),
    "a picture of another mode": (
        PICTURE, png(Image.new("I;16", (64, 64))), "expected mode RGB or RGBA .* got I;16"),
    "a picture of one bit": (
        f"{STAMPS}/signs/red.png", png(Image.new("1", (9, 9))), "expected mode RGB .* got 1"),
    "no picture": (PICTURE, b"not a picture", "expected a PNG file"),
    "another format": (
        PICTURE, lambda path: Image.new("RGB", (64, 64)).save(path, "JPEG"), "expected a PNG file"),
    "half a picture": (
        f"{STAMPS}/signs/red.png", lambda path: path.write_bytes(path.read_bytes()[:120]),
        "expected a PNG file"),
    "no JSON": (EMOJI, b"[{", "expected JSON"),
    "another JSON": (WORDS, b'{"a": 1}', "expected a list of objects in JSON, got {'a': 1}"),
    "an empty list": (WORDS, b"[]", r"expected a list of objects in JSON, got \[\]"),
    "no objects": (WORDS, b'["red"]', "expected a list of objects in JSON, got \\['red'\\]"),
    "no emoji": (EMOJI, b'[{"a": 1}]', "expected name, image, unified, .* of each emoji, got {'a'"),
    "emoji of nobody": (
        EMOJI, lambda path: path.write_text(path.read_text().replace("true", "false")),
        "expected emoji that google and twitter have drawn, got none"),
    "an emoji without a picture's name": (EMOJI, entry(image=None), "expected name, image"),
    "an emoji without a name": (EMOJI, entry(name=" "), "expected a name of 1F002, got an empty"),
    "words of nothing": (WORDS, b'[{"label": "x"}]', "expected label and hexcode, got"),
    "a list in Latin-1": (
        EMOJI, '[{"name": "é"}]'.encode("latin-1"), "expected UTF-8, got another byte at 11"),
    "a caption in Latin-1": (
        f"{STAMPS}/signs/red.txt", "Un pété.\n".encode("latin-1"),
        "expected UTF-8, got another byte at 4"),
    "an empty caption": (
        f"{STAMPS}/signs/red.txt", b"\nde.utf8=x\n", "expected a caption in its first line"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_a_file_is_one_line_that_says_where(folder, damage):
    name, change, text = DAMAGES[damage]
    if callable(change):
        change(folder / name)
    else:
        (folder / name).write_bytes(change)
    with pytest.raises(ValueError, match=text) as error:
        pictures.read(folder)
    assert str(error.value).startswith(str(folder / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [EMOJI, WORDS, PICTURE])
def test_a_file_that_is_missing_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match="no such file; it belongs to emoji-datasource-google"):
        pictures.read(folder)


def test_a_folder_that_is_missing_is_named(folder):
    with pytest.raises(ValueError, match=r"nowhere: no such folder; expected emoji-datasource"):
        pictures.read(folder / "nowhere")
    shutil.rmtree(folder / STAMPS)
    with pytest.raises(ValueError, match=f"in node_modules and {STAMPS}"):
        pictures.read(folder)
    (folder / STAMPS).mkdir()
    with pytest.raises(ValueError, match=r"expected stamps, PNG files .* got none"):
        pictures.read(folder)


# --- pieces of words ------------------------------------------------------------------------------
TEXTS = ["two hearts", "red heart", "a heart with an arrow", "tropical fish", "blowfish",
         "jellyfish", "goldfinch", "gold medal", "clown face", "Piñata & co"]  # fmt: skip


def test_words_are_cut_at_signs_and_lose_case_and_accents():
    assert words("  Piñata: 12 O’Clock-times! ") == [
        "pinata", ":", "1", "2", "o", "’", "clock", "-", "times", "!",
    ]  # fmt: skip
    assert words("日本 ½") == ["日", "本", "½"]


def test_pieces_are_learnt_and_unseen_words_fall_into_them():
    vocabulary = Vocabulary.learn(TEXTS, 70)
    assert len(vocabulary) == 70
    assert (vocabulary.pieces[:3], vocabulary.pieces[-1]) == (SPECIAL, END)
    read = lambda text: [vocabulary.pieces[i] for i in vocabulary.encode(text, 99)]
    assert read("hearts")[0], read("hearts")[-1] == ("<start>", END)
    assert "fish</w>" in read("goldfish")
    assert "".join(read("goldfish")[1:-1]) == "goldfish</w>"
    assert vocabulary.encode("日 fish", 9)[:2] == [START, UNKNOWN]
    assert vocabulary.encode("Jellyfish", 99) == vocabulary.encode("jellyfish", 99)


def test_the_first_merge_is_of_the_most_frequent_pair():
    """By hand: of "aab aab ab", a-b</w> comes three times, a-a twice."""
    vocabulary = Vocabulary.learn(["aab aab ab"], 8)
    assert vocabulary.merges == [("a", "b</w>"), ("a", "ab</w>")]
    assert vocabulary.pieces == (*SPECIAL, "a", "b</w>", "ab</w>", "aab</w>", END)
    assert Vocabulary.learn(["aab aab ab"], 7).merges == [("a", "b</w>")]
    assert Vocabulary.learn(["aab aab ab"], 1).merges == []  # letters are always there
    assert len(Vocabulary.learn(["aab aab ab"], 99)) == 8  # there are no more


def test_pieces_are_those_of_the_library_tokenizers(rng):
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = Vocabulary.learn(TEXTS, 60)
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    library = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            ids, vocabulary.merges, unk_token=SPECIAL[UNKNOWN], end_of_word_suffix="</w>"
        )
    )
    letters = [*"abdefghilorst", "é"]
    random = ["".join(rng.choice(letters, rng.integers(1, 12))) for _ in range(300)]
    for text in [*TEXTS, *random]:
        found = library.encode(words(text), is_pretokenized=True).ids
        assert vocabulary.encode(text, 99)[1:-1] == found


def test_a_table_of_captions_is_padded_to_the_longest():
    vocabulary = Vocabulary.learn(TEXTS, 60)
    table = vocabulary.table(["red heart", "a"], 20)
    first, second = (vocabulary.encode(text, 20) for text in ("red heart", "a"))
    assert table.shape == (2, len(first))
    assert table[1].tolist() == second + [PADDING] * (len(first) - len(second))
    assert (table.argmax(axis=1) == [len(first) - 1, len(second) - 1]).all()  # ends are greatest


def test_captions_that_cannot_be_read():
    vocabulary = Vocabulary.learn(TEXTS, 60)
    with pytest.raises(
        ValueError, match=r"caption: \d+ pieces are more than the context of 4: 'two"
    ):
        vocabulary.encode("two hearts and two clowns", 4)
    for text in ("", "  \n"):
        with pytest.raises(ValueError, match="caption: expected words, got"):
            vocabulary.encode(text, 9)


@pytest.mark.parametrize(
    ("pieces", "merges", "text"),
    [
        (["<start>", "a", END], [], "vocabulary: expected <padding>, <start>, <unknown>, pieces"),
        ([*SPECIAL, "a"], [], "vocabulary: expected"),
        ([*SPECIAL, "a", "b", END], [("a", "b")], "no pieces for the merge of a and b"),
    ],
)
def test_a_vocabulary_that_does_not_fit(pieces, merges, text):
    with pytest.raises(ValueError, match=text):
        Vocabulary(pieces, merges)


# --- the real pictures ----------------------------------------------------------------------------
@real
def test_the_real_pictures():
    data = pictures.read(REAL)
    assert len(data.emoji) == 1_911
    assert len({each.family for each in data.emoji}) == 1_408
    assert data.styles["google"].shape == data.styles["twitter"].shape == (1_911, 64, 64, 3)
    assert len(data.stamps.captions) == 785
    assert [len(part) for part in split(data.emoji, 0.2, 12, 0)] == [1_528, 383]
    clownfish = data.stamps.captions[data.stamps.names.index("clownfish")]
    assert clownfish == "A clownfish."
