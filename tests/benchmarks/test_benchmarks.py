"""The benchmarks measure what they say: equal computations, the right products, the arithmetic."""

import json
import math
from functools import partial

import fake_gpu
import numpy as np
import pytest
import torch

import minigrad as mg
from benchmarks import decoding, gemm, output_layer, problems, sides, step, sweep
from experiments.grokking import objective, prefix
from experiments.grokking.task import Grokking, data_of
from models import count

MODELS = ["lstm", "gpt"]
SPEECHES = ["speech-classifier", "speech-language-model"]


@pytest.fixture(autouse=True)
def kernels_off():
    yield
    mg.use_kernels(False)


def of_sums(model):
    return [problems.sums(model, 40, 16), problems.random_tokens(model, 8, 16, 9)]


SUMS = [p for model in MODELS for p in of_sums(model)]
OTHERS = [
    *(problems.speeches(model, 5, 16, 50) for model in SPEECHES),
    problems.verbal("bert", 5, 24),
]
OTHERS.append(problems.verbal("bert-long", 2, 24))
OTHERS.append(problems.words("translator", 5, 16, (4, 7)))
OTHERS += [problems.wikitext(model, 3, 24, 50) for model in ("tied-lstm", "tied-gpt")]
ALL = [*SUMS, *OTHERS]


def sizes_of(problem):
    return f"{problem.model}-{problem.words}-{problem.batch}-{problem.length}"


# --- equal computations -------------------------------------------------------------------------
@pytest.mark.parametrize("problem", ALL, ids=sizes_of)
def test_the_sides_train_alike(problem):
    plain = {
        name: kind
        for name, kind in sides.KINDS[problem.model].items()
        if not kind.compiled and not kind.kernels
    }
    made = sides.make_sides(list(plain), problem)
    assert [side.name for side in made] == list(plain)
    sides.check_agreement(made, problem, steps=4)


@pytest.mark.parametrize("model", MODELS)
def test_jax_trains_alike(model):
    pytest.importorskip("jax", reason="JAX is not installed")
    problem = problems.sums(model, 40, 16)
    made = [sides.make_side(name, problem) for name in ("minigrad, plain", "JAX compiled")]
    sides.check_agreement(made, problem, steps=4)


@pytest.mark.parametrize(("number", "change"), [(1, "weights"), (2, "learning rate")])
def test_a_different_computation_is_refused(number, change, monkeypatch):
    problem = problems.sums("lstm", 40, 16)
    made = sides.make_sides(["minigrad, plain"], problem)
    if change == "weights":
        weights = sides.weights_of(problem)
        weights["classifier.bias"][0] += 0.01
        monkeypatch.setattr(sides, "weights_of", lambda _: weights)
    else:
        faster = partial(torch.optim.AdamW, lr=2e-3)
        monkeypatch.setattr(torch.optim, "AdamW", lambda p, lr, weight_decay: faster(p))
    made += sides.make_sides(["PyTorch eager"], problem)
    with pytest.raises(sides.BenchmarkError, match=f"lstm: loss {number} of minigrad, plain is"):
        sides.check_agreement(made, problem)


def test_a_side_that_cannot_run_is_left_out_and_says_why(monkeypatch, capsys):
    def refuse(on):
        raise ImportError("no compiler here")

    monkeypatch.setattr(mg, "use_kernels", refuse)
    made = sides.make_sides(["minigrad", "minigrad, plain"], problems.sums("lstm", 8, 16))
    monkeypatch.undo()
    assert [side.name for side in made] == ["minigrad, plain"]
    assert "lstm: minigrad is left out: no compiler here" in capsys.readouterr().err
    with pytest.raises(ValueError, match="side: expected one of 'minigrad', "):
        sides.make_side("tinygrad", problems.sums("lstm", 8, 16))


def test_a_problem_counts_the_same_positions_in_every_row():
    trial = Grokking(p=5, orders=(2, 3))
    data, _ = data_of(trial)
    with pytest.raises(ValueError, match="the same positions"):
        problems.of_equations(trial, data)


def test_sums_fill_the_batch():
    for batch in (32, 480, 481, 1024):
        problem = problems.sums("gpt", batch, 16)
        assert problem.batch == batch
        assert problem.start == 4
        assert (problem.trial.p == 31) == (batch <= 480)


def test_speeches_are_of_the_size_of_the_real_ones():
    """2,092 sentences of 18 tokens on average, at most 30, padded to 32."""
    data = problems.random_speeches(2_092, 32, 5_755)
    ids, lengths, labels = data.train.ids, data.train.lengths, data.train.labels
    assert ids.shape == (2_092, 32)
    assert ((ids == 0) == (np.arange(32) >= lengths[:, None])).all()
    assert abs(lengths.mean() - 18) < 0.5
    assert (lengths.max(), ids.max(), {*labels.tolist()}) == (30, 5_754, {0, 1, 2})


def test_windows_of_a_text_do_not_overlap():
    """Each input is the target of the place before it."""
    problem = problems.speeches("speech-language-model")
    inputs, targets = problem.inputs, problem.targets
    assert inputs.shape == targets.shape == (16, 32)
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    assert np.unique(inputs).size > 450  # of 512 draws from 5,753, about 490 differ


def test_a_batch_of_verbal_arithmetic_is_that_of_the_experiment():
    problem = problems.verbal()
    assert (problem.batch, problem.length, problem.words) == (32, 7, 25)
    assert (problem.inputs[:, 5:] == 0).all()
    assert (problem.inputs[:, :5] > 0).all()
    assert {*problem.targets.tolist()} <= {0, 1, 2}


@pytest.mark.parametrize("model", step.TITLES)
def test_tiny_problems_are_smaller_in_all(model):
    full, tiny = problems.problem_of(model), problems.tiny_problem(model)
    assert full.model == tiny.model == model
    assert tiny.batch < full.batch
    assert tiny.trial.d < full.trial.d


# --- the matrix products ------------------------------------------------------------------------
def counted(monkeypatch, shared=False):
    """The floating point operations of every product that arrays will see, one by one.

    Sums as products with ones and, over a tree, the products of single queries are left aside.
    """
    fake_gpu.install(monkeypatch)
    made = []
    original = fake_gpu.FakeArray.__array_ufunc__

    def counting(self, ufunc, method, *inputs, **kwargs):
        a, b = (x.values for x in inputs) if ufunc is np.matmul else (np.ones(1), np.ones(1))
        single = shared and a.ndim > 2 and a.shape[-2] == 1
        if min(a.ndim, b.ndim) > 1 and not single:
            made.append(2 * a.size * b.shape[-1])
        return original(self, ufunc, method, *inputs, **kwargs)

    monkeypatch.setattr(fake_gpu.FakeArray, "__array_ufunc__", counting)
    return made


@pytest.mark.parametrize("shared", [False, True], ids=["plain", "shared"])
@pytest.mark.parametrize("problem", SUMS, ids=sizes_of)
def test_the_products_are_those_that_minigrad_makes(problem, shared, monkeypatch):
    made = counted(monkeypatch, shared)
    task = problem.task("cuda")
    batch = objective.batch_of(task.train_set, "cuda", share_prefixes=shared)
    objective.loss(prefix.logits(task.model, batch.ids, batch.start), batch).backward()
    assert sum(made) == gemm.flops(gemm.products_of(problem, shared))


@pytest.mark.parametrize("problem", OTHERS, ids=sizes_of)
def test_the_products_are_those_that_minigrad_makes_of_texts(problem, monkeypatch):
    made = counted(monkeypatch)
    loss, _ = problem.task("cuda").loss(mg.tensor(problem.rows, device="cuda"))
    loss.backward()
    assert sum(made) == gemm.flops(gemm.products_of(problem))


@pytest.mark.parametrize("model", MODELS)
def test_the_products_agree_with_the_number_of_weights(model):
    """A weight meets each position three times: forward, and in the gradients of x and W."""
    problem = problems.random_tokens(model, 8, 16, 9)
    d, layers, heads, words = 16, 2, 4, problem.words
    if model == "lstm":
        weights = count.lstm_core(d, d, layers, bias=False) + d * words
        missing = layers * 4 * d * d * 8  # the weights of h in the first step, where h is zero
        missing += 4 * d * d * (8 * 9 - words)  # the weights of x meet every word once
        expected = 3 * 2 * (weights * 8 * 9 - missing)
    else:
        weights = count.decoder(d, layers, bias=False) - layers * 4 * d + d * words
        expected = 3 * 2 * weights * 8 * 9 + layers * 6 * 2 * (8 * heads) * 9 * 9 * (d // heads)
    assert gemm.flops(gemm.products_of(problem)) == expected


def test_shared_prefixes_leave_out_what_is_equal():
    problem = problems.sums("lstm")
    assert gemm.batch_of(problem, shared=True) == ([(1, 0, 1), (31, 1, 2), (480, 3, 3)], 96)
    plain, shared = (gemm.flops(gemm.products_of(problem, s)) for s in (False, True))
    assert shared < 0.61 * plain  # 1,503 of 2,880 positions are 0.52; the table of words is in both


@pytest.mark.parametrize("problem", ALL[::2], ids=sizes_of)
def test_the_floors_run_every_product(problem, monkeypatch):
    products = gemm.products_of(problem)
    calls = gemm.operands(products)
    assert len(calls) == sum(p.calls for p in products)
    assert sum(2 * a.size * b.shape[-1] for a, b, _ in calls) == gemm.flops(products)
    monkeypatch.setattr(gemm, "operands", lambda _: calls)
    for make in (gemm.numpy_floor, gemm.torch_floor):
        for _, _, y in calls:
            y[...] = math.nan
        make(products)()
        for a, b, y in calls:  # k terms of about 1 each
            np.testing.assert_allclose(y, a @ b, rtol=0, atol=a.shape[-1] * 1e-6)


# --- turns and table ----------------------------------------------------------------------------
def test_sides_take_turns_and_the_first_step_of_each_is_not_counted():
    ran = []
    made = [sides.Side(name, lambda name=name: ran.append(name)) for name in "ab"]
    times = step.alternate(made, 3, uncounted=1, steps=2, pause=0.0)
    assert "".join(ran) == "aaabbb" * 4
    assert {name: len(found) for name, found in times.items()} == {"a": 3, "b": 3}
    times = step.alternate(made, 50, uncounted=0, pause=0.0, seconds=0.0)
    assert len(times["a"]) == 3


def test_the_table_has_medians_and_ratios():
    times = {
        "minigrad": [10.0, 20.0, 30.0],
        "minigrad, plain, shared prefixes": [16.0, 16.0, 16.0],
        "PyTorch eager": [50.0, 40.0, 30.0],
        "torch.nn.LSTM": [30.0, 30.0, 30.0],
    }
    floors = {"products, NumPy": [15.0] * 3, "products, NumPy, shared prefixes": [4.0] * 3}
    rows = {row["side"]: row for row in step.rows(times, floors, {"minigrad": 12.3})}
    assert rows["minigrad"] == {
        "side": "minigrad",
        "ms": 20.0,
        "low": 12.0,
        "high": 28.0,
        "eager": 2.0,
        "fused": 1.5,
        "outside": 0.25,
        "megabytes": 12.3,
    }
    assert rows["minigrad, plain, shared prefixes"]["outside"] == 0.75
    assert rows["torch.nn.LSTM"]["outside"] is None
    product = gemm.Product("", 100, 200, 300, calls=5, stack=2)
    floor = step.floor_row("products, NumPy", floors["products, NumPy"], {"": [product]})
    assert (floor["gflop"], floor["gflop_a_second"]) == (0.12, 8.0)

    record = {"model": "lstm", "sides": list(rows.values()), "floors": [floor]}
    lines = step.table(record).splitlines()
    assert lines[2] == "| minigrad | 20.0 | 12.0–28.0 | 2.00 | 1.50 | 25% | 12 |"
    assert lines[5] == "| torch.nn.LSTM | 30.0 | 30.0–30.0 | 1.33 | 1.00 |  |  |"
    assert lines[-1].endswith(" for 0.12 GFLOP, 8 GFLOP/s")
    assert "torch.nn.LSTM" not in step.table({**record, "model": "gpt", "sides": []})


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        (step, ["--turns", "1"], "--turns: expected at least 2, got 1"),
        (step, ["--out", "."], "--out: expected a file, got the folder ."),
        (sweep, ["--turns", "2"], "--turns: expected at least 3, got 2"),
        (sweep, ["--figure", "--out", "nothing"], "nothing/sweep.jsonl: no records to draw"),
        (sweep, ["--quick", "--out", "."], "sweep.jsonl exists: choose another --out"),
    ],
)
def test_mistakes_are_one_line(command, args, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit) as stop:
        command.main(args)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.count("\n") == 1
    assert words in said


# --- the sweep ----------------------------------------------------------------------------------
@pytest.fixture
def no_kernels(monkeypatch):
    """Without the compiled kernels, which may have to be compiled first."""
    monkeypatch.setattr(sweep, "SIDES", ("minigrad, plain", "PyTorch eager"))
    monkeypatch.setattr(sweep, "keep_memory", lambda: True)  # would last to the end


@pytest.mark.usefixtures("no_kernels")
def test_a_quick_sweep_writes_records_and_a_figure(tmp_path, capsys):
    assert sweep.main(["--quick", "--out", str(tmp_path)]) == 0
    found = [json.loads(line) for line in (tmp_path / "sweep.jsonl").read_text().splitlines()]
    assert len(found) == 2 * 6 * 2
    for record in found:
        assert record["low"] <= record["ms"] <= record["high"]
        assert record["environment"]["torch"]
    assert {(r["axis"], r["batch"], r["d"], r["length"]) for r in found} == {
        point for points in sweep.QUICK for point in points
    }
    drawn = {name: (tmp_path / name).read_bytes() for name in ("sweep.png", "sweep.pdf")}
    assert drawn["sweep.png"].startswith(b"\x89PNG")
    assert sweep.main(["--figure", "--out", str(tmp_path)]) == 0
    assert drawn == {name: (tmp_path / name).read_bytes() for name in drawn}
    assert len(capsys.readouterr().out.splitlines()) == len(found) + 3 + 3


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize(
    ("limit", "words"),
    [("--limit-seconds", "would take about"), ("--limit-gigabytes", "would need about")],
)
def test_points_that_are_too_large_are_left_out_and_said(limit, words, tmp_path, capsys):
    assert sweep.main(["--quick", "--out", str(tmp_path), limit, "1e-9"]) == 0
    found = [json.loads(line) for line in (tmp_path / "sweep.jsonl").read_text().splitlines()]
    assert len(found) == 2 * 6
    assert all(words in record["skipped"] for record in found)
    assert capsys.readouterr().out.count("left out: a step " + words) == len(found)


def test_decoding_is_measured_with_and_without_a_cache(tmp_path, capsys):
    out = tmp_path / "decoding.json"
    assert decoding.main(["--words", "3", "--turns", "1", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    ways = {(row["model"], row["cached"], row["together"]) for row in rows}
    assert len(ways) == len(rows) == 8
    assert min(row["words_a_second"] for row in rows) > 0
    assert len(capsys.readouterr().out.splitlines()) == 9
    with pytest.raises(SystemExit) as stop:
        decoding.main(["--words", "0"])
    assert stop.value.code == 2
    assert "--words: expected at least 1, got 0" in capsys.readouterr().err


def test_the_output_layer_is_measured_beside_its_products(tmp_path, capsys):
    out = tmp_path / "layer.json"
    sizes = ["--rows", "5", "--width", "3", "--classes", "7", "--turns", "1"]
    assert output_layer.main([*sizes, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert {(row["side"], row["gradients"]) for row in found["rows"]} == {
        (side, needed) for side in output_layer.SIDES for needed in output_layer.NEEDED
    }
    assert all(row["to_products"] == 1.0 for row in found["rows"] if row["side"] == "products")
    assert set(found["peak_mb"]) == set(output_layer.SIDES[1:])
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(found["rows"])
    with pytest.raises(SystemExit) as stop:
        output_layer.main(["--rows", "0"])
    assert stop.value.code == 2
    assert "--rows: expected at least 1, got 0" in capsys.readouterr().err
