"""CLIP's training and its experiment, on coloured shapes that are made here."""

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import toy

pytest.importorskip("PIL", reason="pictures need pillow")

from picture_folder import STAMPS, write_pictures, write_stamp

import minigrad as mg
from experiments.attention import clip, prompts, retrieval
from experiments.attention.clip_tables import TESTED
from experiments.attention.pairs import Pairs, data, in_channels, read
from experiments.attention.prompts import GALLERY, PROMPTS, RETRIEVAL
from experiments.data.place import data_in
from experiments.sweep import launch
from experiments.sweep.experiment import main
from experiments.train import records
from experiments.train.loop import Interrupted, run
from experiments.train.records import TrialRecord
from minigrad.files import read_file
from models.clip import contrastive_loss

SIZES = {**clip.SMALL, "steps": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def shapes(folder):
    with data_in(folder):
        yield data()


# --- retrieval, by hand ---------------------------------------------------------------------------
SIMILARITIES = np.array([[0.9, 0.1, 0.3], [0.8, 0.7, 0.2], [0.1, 0.7, 0.1], [0.85, 0.2, 0.3]])
OF = np.array([0, 1, 2, 0])  # two pictures have caption 0


def test_places_of_the_first_right_picture_and_of_the_caption():
    assert retrieval.picture_ranks(SIMILARITIES, OF).tolist() == [1, 2, 4]  # ties count against
    assert retrieval.caption_ranks(SIMILARITIES, OF).tolist() == [1, 2, 3, 1]
    found = retrieval.recall(SIMILARITIES, OF)
    assert found["picture_at_1"] == pytest.approx(1 / 3)
    assert found["caption_at_1"] == 0.5
    assert (found["picture_median"], found["caption_median"]) == (2.0, 1.5)


def test_a_model_that_tells_nothing_apart_finds_nothing():
    found = retrieval.recall(np.ones((20, 20)), np.arange(20))
    assert {name: v for name, v in found.items() if "_at_" in name} == dict.fromkeys(
        (f"{what}_at_{k}" for what in ("picture", "caption") for k in retrieval.AT), 0.0
    )


def test_chance_is_the_mean_over_all_orders():
    """Of 7 pictures with 5 captions, two of which have two; all sets of 5 that may come first."""
    of = np.array([0, 0, 1, 1, 2, 3, 4])
    sets = [{*of[list(first)]} for first in combinations(range(7), 5)]
    wanted = np.mean([[caption in first for caption in range(5)] for first in sets])
    found = retrieval.chance(of, 5)
    assert found["picture_at_5"] == pytest.approx(wanted)
    assert found["picture_at_1"] == pytest.approx(np.mean([2, 2, 1, 1, 1]) / 7)
    assert (found["picture_at_10"], found["caption_at_1"], found["caption_at_10"]) == (1, 0.2, 1)


def test_a_picture_is_taken_for_the_most_similar_kind():
    found = retrieval.classes(SIMILARITIES, np.array([0, 0, 1, 2]))
    assert found == {"accuracy": 0.75, "balanced": pytest.approx((1 + 1 + 0) / 3)}


# --- the task -------------------------------------------------------------------------------------
def test_an_epoch_has_every_emoji_once_and_draws_anew(shapes):
    task = Pairs(seed=3, style="both", **SIZES).task("cpu")
    assert (len(task.train), len(task.held_out)) == (19, 5)
    each = math.prod(task.choices)
    assert task.choices == (2, 4, 9, 9)
    first, second = (np.concatenate(task.order(epoch)) for epoch in (0, 1))
    for rows in (first, second):
        assert len(rows) == 16  # of 19, in batches of 4
        assert len({*(rows // each)}) == 16
        assert rows.max() < task.size
    assert not np.array_equal(np.sort(first), np.sort(second))
    np.testing.assert_array_equal(first, np.concatenate(task.order(0)))
    styles = np.concatenate([np.concatenate(task.order(e)) for e in range(30)]) // (4 * 81) % 2
    assert abs(styles.mean() - 0.5) < 4 * 0.5 / 480**0.5  # four standard deviations


def test_a_row_says_which_picture_where_and_which_caption(shapes):
    """By hand, and with the model's own loss."""
    task = Pairs(style="both", **SIZES).task("cpu")
    draws = [(3, 1, 2, 0, 8), (7, 0, 0, 4, 4), (7, 1, 3, 8, 1)]  # emoji, style, caption, y, x
    numbers = [(((e * 2 + s) * 4 + c) * 9 + y) * 9 + x for e, s, c, y, x in draws]
    windows, ids = [], []
    for e, s, c, y, x in draws:
        emoji = int(task.train[e])
        picture = shapes.styles[("google", "twitter")[s]][emoji]
        padded = np.full((72, 72, 3), 255, np.uint8)
        padded[4:68, 4:68] = picture
        windows.append(padded[y : y + 64, x : x + 64])
        ids.append(task.captions(shapes.emoji[emoji])[c])
    table = task.words.table(ids, task.trial.context)
    logits = task.model(in_channels(mg.tensor(np.stack(windows))), mg.tensor(table))
    loss, sums = task.loss(mg.tensor(np.array(numbers)))
    # padding to another length changes nothing but sums over more zeros: some roundings of 1e-7
    assert loss.item() == pytest.approx(contrastive_loss(logits).item(), rel=1e-5)
    assert sums[1] == 3.0
    assert sums[0].item() == pytest.approx(3 * loss.item())


def test_captions_of_an_emoji_are_its_name_its_label_and_some_of_its_tags(shapes):
    task = Pairs(**SIZES).task("cpu")
    name, label, *tagged = task.captions(shapes.emoji[0])
    assert (name, label) == ("red circle", "circle in red")
    assert {*tagged} <= {"red circle", "circle red"}
    assert task.captions(shapes.emoji[0]) == [name, label, *tagged]


def test_measured_numbers_are_those_of_pictures_one_by_one(shapes):
    task = Pairs(**SIZES).task("cpu")
    task.model.eval()
    record = task.measure()
    held_out = [shapes.emoji[i] for i in task.held_out]
    names = [each.name for each in held_out]
    pictures = shapes.styles["twitter"][task.held_out]
    with mg.no_grad():
        vectors = [
            task.model.embed_pictures(in_channels(mg.tensor(p[None]))).numpy()[0] for p in pictures
        ]
        texts = [
            task.model.embed_texts(mg.tensor([task.words.encode(n, 128)])).numpy()[0] for n in names
        ]
    similarities = np.array(vectors) @ np.array(texts).T
    ranks = [sum(similarities[:, i] > similarities[i, i]) + 1 for i in range(5)]
    assert record["twitter_held_picture_at_1"] == np.mean(np.array(ranks) == 1)
    assert record["twitter_held_picture_median"] == np.median(ranks)
    assert record["scale"] == pytest.approx(1 / 0.07)
    assert {name.rsplit("_", 3)[0] for name in record if "_picture_at_1" in name} == {*clip.SETS}


def test_a_trial_learns_and_its_scale_stays_below_100(shapes, tmp_path):
    trial = Pairs(**{**SIZES, "steps": 60, "shift": 0, "tagged": 0, "lr": 0.003, "every": 5})
    run(trial, tmp_path)
    lines = records.read_records(tmp_path / "metrics.jsonl")
    assert lines[-1]["loss"] < 0.7 * lines[1]["loss"]
    assert all(line["scale"] <= 100.001 for line in lines)
    assert lines[-1]["google_train_picture_at_5"] > lines[0]["google_train_picture_at_5"]


def test_a_trial_that_is_interrupted_goes_on_bit_for_bit(shapes, tmp_path):
    trial = Pairs(style="both", **SIZES)
    run(trial, tmp_path / "whole")
    for at in (3, 6):
        with pytest.raises(Interrupted):
            run(trial, tmp_path / "parts", watcher=toy.StopAt(at))
    run(trial, tmp_path / "parts")
    assert toy.left(tmp_path / "parts") == toy.left(tmp_path / "whole")
    texts = [(tmp_path / part / RETRIEVAL).read_bytes() for part in ("whole", "parts")]
    assert texts[0] == texts[1]
    (arrays, about), (others, same) = (
        read_file(tmp_path / part / GALLERY) for part in ("whole", "parts")
    )
    assert about == same
    assert arrays.keys() == others.keys()
    assert all(np.array_equal(arrays[name], others[name]) for name in arrays)


def test_the_rate_rises_and_falls_to_nothing():
    trial = Pairs(steps=100, warmup=10, lr=1.0)
    assert [trial.rate(step, 10) for step in (0, 9, 100)] == pytest.approx([0.1, 1.0, 0.0])


# --- what a trial leaves --------------------------------------------------------------------------
@pytest.fixture
def left(shapes, tmp_path):
    task = Pairs(**SIZES).task("cpu")
    task.model.eval()
    with mg.no_grad():
        task.leave(tmp_path)
    return task, json.loads((tmp_path / RETRIEVAL).read_text()), tmp_path


def test_what_is_left_says_what_there_was(left):
    task, found, _ = left
    pairs = found["pairs"]
    assert [pairs[k] for k in ("emoji", "families", "train", "held_out")] == [24, 24, 19, 5]
    stamps = pairs["sets"]["stamps"]
    assert (stamps["pictures"], stamps["captions"], stamps["classes"]) == (9, 5, 3)
    assert stamps["majority"] == pytest.approx(4 / 9)
    assert stamps["picture_at_1"] == pytest.approx(9 / 5 / 9)  # nine pictures have five captions
    assert pairs["counted"] == []
    matrix = np.array(found["matrix"]["similarities"])
    assert matrix.shape == (5, 5)
    assert {*found["matrix"]["captions"]} <= {e.name for e in task.source.emoji}
    assert [each["prompt"] for each in found["prompts"]] == [*PROMPTS]
    assert all(1 <= each["rank"] <= 9 and len(each["first"]) == 3 for each in found["prompts"])


def test_places_by_template_are_those_of_each_caption(left):
    task, found, _ = left
    labels = [task.source.emoji[i].label for i in task.held_out]
    with mg.no_grad():
        vectors = task.embed_pictures(task.source.styles["google"][task.held_out])
        later = {}
        for name in ("plain", "two, plural"):
            texts = task.embed_texts([prompts.TEMPLATES[name](label) for label in labels])
            similarities = vectors @ texts.T
            later[name] = (similarities >= np.diag(similarities)).sum(axis=0)
    by = found["templates"]["emoji"]["by"]
    assert by["two, plural"]["median"] == np.median(later["two, plural"])
    wanted = np.log2(later["two, plural"] / later["plain"]).mean()
    assert by["two, plural"]["later"] == pytest.approx(wanted)
    assert by["plain"]["later"] == 0
    assert found["templates"]["stamps"]["nouns"] == 5
    assert prompts.NAMES not in found["templates"]["stamps"]["by"]


def test_the_gallery_has_the_pictures_and_their_makers(left):
    task, _, folder = left
    tensors, metadata = read_file(folder / GALLERY)
    about = json.loads(metadata["about"])
    assert tensors["vectors"].shape == (14, 16)
    assert len(about["captions"]) == len(about["sources"]) == 14
    assert {*about["sources"]} == {
        "Google's emoji (Noto), Apache-2.0", "Tux Paint's stamps, GPL-2"
    }  # fmt: skip
    assert about["pieces"] == [*task.words.pieces]


@pytest.mark.parametrize(
    ("caption", "counts"),
    [
        ("two hearts", True),
        ("smiling face with three red hearts", True),
        ("two men holding hands", True),
        ("two heart", False),
        ("clock face two oclock", False),
        ("one hearts", False),
        ("attwo hearts", False),
        ("menorah with nine glass", False),
    ],
)
def test_captions_that_count(caption, counts):
    assert bool(prompts.COUNTED.search(caption)) == counts


@pytest.mark.parametrize(
    ("caption", "noun"),
    [("A clownfish.", "clownfish"), ("An African elephant.", "african elephant"),
     ("A very poisonous lionfish!", ""), ("Two flowers.", ""), ("A big old red barn.", "")],
)  # fmt: skip
def test_nouns_of_stamps(caption, noun):
    assert prompts.noun_of(caption) == noun


def test_without_the_target_prompts_have_no_place(tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    (folder / STAMPS / "animals" / "clownfish.txt").unlink()
    with data_in(folder):
        run(Pairs(**SIZES), tmp_path / "trial")
    trial = records.read_trial(tmp_path / "trial")
    results = clip.results([trial])
    assert [t.rows for t in results.tables if t.name == "prompts"] == [[]]
    assert {c.verdict for c in clip.decide(clip.CLAIMS, [trial])} >= {"not run"}


# --- the experiment -------------------------------------------------------------------------------
def test_the_command_leaves_its_tables_figure_and_claims(folder, tmp_path, capsys):
    out = tmp_path / "out"
    args = ["--scale", "small", "--seeds", "3", "4", "--no-kernels", "--data", str(folder)]
    assert main(clip.EXPERIMENT, [*args, "--out", str(out)], description="") == 0
    results = json.loads((out / "results.json").read_text())
    text = (out / "results.md").read_text()
    names = {"pairs", "picture", "caption", "classes", "templates", "prompts"}
    assert results["tables"].keys() == names
    assert all(results["tables"].values())
    assert {c["verdict"] for c in results["claims"]} == {"not run"}  # not the full sizes
    assert (out / "similarities.png").exists()
    assert "nan" not in text.lower()
    for group in clip.TRAINED_ON:
        assert text.count(f"| {group.label} |") == 2 * len(clip.SETS) + len(TESTED)
    capsys.readouterr()


def trial_of(tmp_path, name, ranks, **settings):
    """A trial that left places of the target for prompts."""
    folder = tmp_path / name
    folder.mkdir()
    left = {
        "prompts": [{"prompt": p, "rank": ranks.get(p, 9), "first": []} for p in PROMPTS],
        "templates": {"emoji": {"by": {"two, plural": {"later": ranks.get("later", 0.5)}}}},
    }
    (folder / RETRIEVAL).write_text(json.dumps(left))
    return TrialRecord(folder, Pairs(**settings).settings(), [{"step": 1}], {"finished": True})


def verdicts(trials):
    return [c.verdict for c in clip.decide(clip.CLAIMS, clip.as_published(trials))]


def test_claims_are_decided_by_the_places_of_the_target(tmp_path):
    as_seed = {"two goldfish": 1, "two nemo": 1, "two nemos": 2}
    trials = [
        trial_of(tmp_path, f"a{i}", as_seed | {"two nemos": n, "later": n / 10}, seed=i)
        for i, n in enumerate((2, 3, 2))
    ]
    assert verdicts(trials) == ["agrees"] * 5
    other = {"two goldfish": 30, "two nemo": 8, "two nemos": 1}
    trials = [
        trial_of(tmp_path, f"b{i}", other | {"two nemo": n, "later": -n}, seed=i)
        for i, n in enumerate((8, 9, 7))
    ]
    assert verdicts(trials) == ["differs"] * 5
    assert verdicts([trial_of(tmp_path, "small", as_seed, steps=7)]) == ["not run"] * 5


# --- mistakes -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"style": "apple"}, "style: expected google or twitter or both, got apple"),
        ({"shift": -1}, "shift: expected at least 0, got -1"),
        ({"every": 0}, "every: expected at least 1, got 0"),
        ({"patch": 7}, "picture: 64 cannot be cut into patches of 7"),
        ({"text_d": 63}, "text_d: 63 cannot be divided among 4 heads"),
        ({"context": 0}, "context: expected at least 1, got 0"),
    ],
)
def test_settings_that_no_trial_has(settings, text):
    with pytest.raises(ValueError, match=text):
        Pairs(**settings)


def test_a_batch_larger_than_the_pairs(shapes):
    with pytest.raises(ValueError, match="batch_size: 20 is more than the 19 samples"):
        Pairs(**{**SIZES, "batch_size": 20}).task("cpu").order(0)


def refused(args, capsys):
    """What the command says in one line before it ends with status 2."""
    with pytest.raises(SystemExit) as stop:
        main(clip.EXPERIMENT, args, description="")
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert ": error: " in error
    return error


def command(data, out):
    return ["--scale", "small", "--no-kernels", "--data", str(data), "--out", str(out)]


def test_a_wrong_folder_is_told_before_kernels_are_compiled(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch, "use_kernels", lambda on: pytest.fail("kernels were compiled"))
    args = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert f"{tmp_path}: expected emoji-datasource-google" in refused(args, capsys)
    assert not (tmp_path / "out").exists()


def test_without_data_the_command_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    args = ["--scale", "small", "--out", str(tmp_path / "out")]
    assert "no data: give the folder of emoji-datasource-google" in refused(args, capsys)
    assert not (tmp_path / "out").exists()


def test_a_caption_longer_than_the_context_is_told_before_anything_is_written(tmp_path, capsys):
    data = write_pictures(tmp_path / "pictures")
    write_stamp(data, "signs/long", "A very " * 40 + "long text.", read_one(data))
    error = refused(command(data, tmp_path / "out"), capsys)
    assert "pieces are more than the context of 128: 'A very A very" in error
    assert not (tmp_path / "out").exists()


def test_a_picture_of_the_wrong_size_is_told_before_anything_is_written(tmp_path, capsys):
    data = write_pictures(tmp_path / "pictures")
    path = Path("node_modules/emoji-datasource-google/img/google/64/1f001.png")
    read_one(data).resize((32, 32)).save(data / path)
    error = refused(command(data, tmp_path / "out"), capsys)
    assert f"{path}: expected 64 x 64 pixels, got 32 x 32" in error
    assert not (tmp_path / "out").exists()


def read_one(folder):
    """One of the stamps."""
    from PIL import Image

    read.cache_clear()
    return Image.open(folder / STAMPS / "signs" / "red.png")
