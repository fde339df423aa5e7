"""Stacked models: replicas train as separate models do, to rounding, and end as ordinary ones."""

import json
import math
from dataclasses import replace
from pathlib import Path

import fake_gpu
import numpy as np
import pytest
from toy import StopAt

import minigrad as mg
from experiments.grokking import objective, prefix, sanity, task
from experiments.grokking.task import Grokking
from experiments.sweep.experiment import main
from experiments.sweep.jobs import jobs_of
from experiments.train import loop, records
from experiments.train.loop import Interrupted, Watcher, run
from experiments.train.replicas import run_replicas
from experiments.train.task import measured
from minigrad import kernel as kernels
from minigrad import nn, optim
from minigrad.files import read_file
from minigrad.stacked import stack_of
from models import GPT, GPTConfig, LSTMConfig, LSTMLanguageModel

EPS = np.finfo(np.float64).eps
MODELS = ["lstm", "gpt"]
SMALL = {"p": 7, "d": 16, "batch_size": 9, "steps": 14, "eval_first": 4, "eval_period": 3}


def model_of(kind, seed, dropout=0.0):
    """An untrained model in float64."""
    mg.random.seed(seed)
    if kind == "lstm":
        model = LSTMLanguageModel(LSTMConfig(11, 8, 12, 2, dropout=dropout, padding_id=10))
    else:
        model = GPT(GPTConfig(11, 8, 2, 2, dropout=dropout, max_length=8, padding_id=10))
    return model.astype(np.float64)


def close(found, wanted, what=""):
    """Off by less than 10⁴ roundings of the greatest: of some 10³ terms, and of what follows."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    limit = 1e4 * EPS * max(1e-3, np.abs(wanted).max(initial=0.0))
    assert np.abs(found - wanted).max(initial=0.0) <= limit, what


def numpy(t):
    return t.detach().numpy()


def gradients(model):
    return {name: numpy(p.grad) for name, p in model.named_parameters()}


# --- stack and unstack ----------------------------------------------------------------------------
def test_stacking_adds_an_axis_and_unstacking_takes_it_off():
    models = [model_of("gpt", seed).eval() for seed in (0, 1, 2)]
    stacked = nn.stack(models)
    assert type(stacked) is GPT
    assert {module.replicas for module in stacked.modules()} == {3}
    assert not stacked.training
    for name, p in stacked.named_parameters():
        assert isinstance(p, nn.Parameter)
        assert p.requires_grad
        assert np.array_equal(numpy(p), [model.state_dict()[name] for model in models])
    assert stacked.positions.table.shape == models[0].positions.table.shape  # all have the same
    for model, again in zip(models, nn.unstack(stacked), strict=True):
        assert {module.replicas for module in again.modules()} == {None}
        before, after = model.state_dict(), again.state_dict()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        ids = mg.tensor(np.array([[1, 2, 3]]))
        assert np.array_equal(numpy(again(ids)), numpy(model(ids)))


def test_copies_share_no_memory():
    models = [nn.Linear(2, 3), nn.Linear(2, 3)]
    stacked = nn.stack(models)
    parts = nn.unstack(stacked)
    stacked.weight.data[...] = 7.0
    for model in (*models, *parts):
        assert not (model.weight.data == 7.0).any()
    nn.stack(parts)  # what was unstacked can be stacked again
    nn.stack([parts[0], models[0]])


class Tied(nn.Module):
    def __init__(self, tied=True):
        self.table = nn.Embedding(3, 2)
        self.out = nn.Linear(2, 3, bias=False)
        if tied:
            self.out.weight = self.table.weight
        self.scale = nn.Parameter(mg.tensor(1.5))
        self.register_buffer("seen", mg.tensor([1.0]))

    def forward(self, ids):
        return self.out(self.table(ids))


def test_tied_and_frozen_parameters_scalars_and_buffers():
    models = [Tied(), Tied()]
    for model in models:
        model.scale.requires_grad_(False)
    stacked = nn.stack(models)
    assert stacked.out.weight is stacked.table.weight
    assert stacked.scale.shape == (2,)
    assert not stacked.scale.requires_grad
    assert stacked.seen.shape == (2, 1)
    assert len(list(stacked.parameters())) == 2
    again = nn.unstack(stacked)[1]
    assert again.out.weight is again.table.weight
    assert again.scale.shape == ()
    assert not again.scale.requires_grad


def test_what_cannot_be_stacked_is_named():
    linear = nn.Linear(2, 3)
    frozen = nn.Linear(2, 3)
    frozen.bias.requires_grad_(False)
    stacked = nn.stack([linear, nn.Linear(2, 3)])
    for models, words in (
        ([], "at least one"),
        ([linear, nn.ReLU()], "the model is .*Linear.* in model 0 and .*ReLU.* in model 1"),
        ([linear, nn.Linear(2, 4)], r"weight is \(\(3, 2\).*in model 0 and \(\(4, 2\)"),
        ([linear, nn.Linear(2, 3, bias=False)], "bias is"),
        ([linear, nn.Linear(2, 3).astype(np.float64)], "float64"),
        ([linear, nn.Linear(2, 3).eval()], "training is True in model 0 and False in model 1"),
        ([linear, frozen], "bias is"),
        ([nn.LayerNorm(3), nn.LayerNorm(3, eps=0.1)], "eps is 1e-05 in model 0 and 0.1 in model 1"),
        ([Tied(), Tied(tied=False)], "out.weight is"),
        ([stacked, stacked], "stacked already"),
        ([linear, stacked], "replicas is None in model 0 and 2 in model 1"),
        ([nn.BatchNorm1d(2), nn.BatchNorm1d(2)], "BatchNorm1d cannot be stacked"),
    ):
        with pytest.raises(ValueError, match=f"stack: .*{words}"):
            nn.stack(models)
    with pytest.raises(ValueError, match="not stacked"):
        nn.unstack(linear)


# --- layers ---------------------------------------------------------------------------------------
LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), (3, 5, 4)),
    "layer norm": (lambda: nn.LayerNorm(4), (3, 5, 4)),
    "rms norm": (lambda: nn.RMSNorm(4), (3, 5, 4)),
    "sequential": (lambda: nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4)), (2, 4)),
    "lstm": (lambda: nn.LSTM(4, 3, 2), (5, 2, 4)),
    "lstm, batch first": (lambda: nn.LSTM(4, 3, batch_first=True), (2, 5, 4)),
    "lstm cell": (lambda: nn.LSTMCell(4, 3), (2, 4)),
    "attention": (lambda: nn.MultiHeadAttention(4, 2), (3, 5, 4)),
    "learned positions": (lambda: nn.LearnedPositions(6, 4), (3, 5, 4)),
    "waves": (lambda: nn.SinusoidalPositions(6, 4), (3, 5, 4)),
}


def flat(y):
    """The tensors in what a layer returns."""
    return [t for part in y for t in flat(part)] if isinstance(y, tuple) else [y]


def compare(models, call, xs):
    """call(model, x) of the stacked model against those of each: values, gradients of all."""
    stacked, rng = nn.stack(models), np.random.default_rng(1)
    together = mg.tensor(np.stack(xs), requires_grad=True)
    ys = flat(call(stacked, together))
    cs = [rng.standard_normal(y.shape) for y in ys]
    mg.concatenate([(y * c).reshape(-1) for y, c in zip(ys, cs, strict=True)]).sum().backward()
    for r, (model, x) in enumerate(zip(models, xs, strict=True)):
        x = mg.tensor(x, requires_grad=True)
        zs = flat(call(model, x))
        mg.concatenate(
            [(z * c[r]).reshape(-1) for z, c in zip(zs, cs, strict=True)]
        ).sum().backward()
        for y, z in zip(ys, zs, strict=True):
            close(numpy(y)[r], numpy(z))
        close(numpy(together.grad)[r], numpy(x.grad))
        for name, gradient in gradients(model).items():
            close(gradients(stacked)[name][r], gradient, name)


@pytest.mark.parametrize("name", LAYERS)
def test_a_stacked_layer_is_its_layers(name, rng):
    make, shape = LAYERS[name]
    models = [make().astype(np.float64) for _ in range(3)]
    for model in models:
        for p in model.parameters():
            p.data[...] = rng.standard_normal(p.shape)
    compare(models, lambda model, x: model(x), rng.standard_normal((3, *shape)))


@pytest.mark.parametrize("how", ["key", "value", "masks", "causal"])
def test_stacked_attention_with_keys_and_masks(how, rng):
    models = [nn.MultiHeadAttention(4, 2).astype(np.float64) for _ in range(2)]
    mask, key_mask = rng.random((5, 5)) < 0.7, rng.random((3, 5)) < 0.8

    def call(model, x):
        last = x[..., 2:, :]
        if how == "masks":
            return model(x, mask=mask, key_mask=key_mask, return_weights=True)
        if how == "causal":
            return model(last, x, causal=True)
        return model(last, x) if how == "key" else model(last, x, x * 2.0)

    compare(models, call, rng.standard_normal((2, 3, 5, 4)))


def test_a_mask_for_each_replica(rng):
    models = [nn.MultiHeadAttention(4, 2).astype(np.float64) for _ in range(2)]
    x, masks = rng.standard_normal((2, 3, 5, 4)), rng.random((2, 3, 1, 5, 5)) < 0.7
    y = numpy(nn.stack(models)(mg.tensor(x), mask=masks))
    for r, model in enumerate(models):
        close(y[r], numpy(model(mg.tensor(x[r]), mask=masks[r])))


def test_stacked_lstm_goes_on_from_a_state(rng):
    models = [nn.LSTM(4, 3, 2).astype(np.float64) for _ in range(2)]
    h, c = rng.standard_normal((2, 2, 2, 5, 3))
    x = rng.standard_normal((2, 6, 5, 4))
    y, (h_n, c_n) = nn.stack(models)(mg.tensor(x), (mg.tensor(h), mg.tensor(c)))
    for r, model in enumerate(models):
        z, (g_n, d_n) = model(mg.tensor(x[r]), (mg.tensor(h[r]), mg.tensor(c[r])))
        for found, wanted in ((y, z), (h_n, g_n), (c_n, d_n)):
            close(numpy(found)[r], numpy(wanted))


@pytest.mark.parametrize(
    ("make", "x", "words"),
    [
        (lambda: nn.Linear(2, 3), np.ones((3, 2)), r"x \(2, \.\.\.\), .* as in weight"),
        (lambda: nn.Embedding(4, 2), np.zeros((3, 2), int), r"ids \(2, \.\.\.\), .* as in weight"),
        (lambda: nn.LayerNorm(3), np.ones((3, 4, 3)), r"x \(2, \.\.\.\), .* as in weight"),
        (lambda: nn.LSTM(2, 3), np.ones((5, 4, 2)), r"expected x \(R, T, B, 2\)"),
        (lambda: nn.LSTM(2, 3), np.ones((3, 5, 4, 2)), r"weights \(3, \.\.\.\), .* as in x"),
        (lambda: nn.LSTMCell(2, 3), np.ones((4, 2)), r"x \(2, \.\.\.\), .* as in weight_ih"),
        (lambda: nn.LSTMCell(2, 3), np.ones((3, 4, 2)), r"x \(2, \.\.\.\), .* as in weight_ih"),
        (lambda: nn.MultiHeadAttention(2, 1), np.ones((3, 4, 2)), r"\(R, B, T, 2\)"),
    ],
)
def test_input_without_the_axis_of_replicas_is_refused(make, x, words):
    stacked = nn.stack([make(), make()])
    x = x.astype(np.float32) if x.dtype.kind == "f" else x
    with pytest.raises(ValueError, match=words):
        stacked(mg.tensor(x))


# --- ops of a user, and kernels -------------------------------------------------------------------
def scale_op():
    """An op of one argument that decides, and of one that has no gradient."""

    @mg.op(stacked=("weight", 1))
    def scale(x, weight, power=1):
        if weight.ndim != 1 or x.shape[-1:] != weight.shape:
            raise ValueError("expected x (..., D) and weight (D,)")
        return x**power * weight, (None, lambda g: (g * x**power).reshape(-1, len(weight)).sum(0))

    return scale


def test_an_op_of_a_user_is_mapped_over_replicas(rng):
    scale, (x, weight) = scale_op(), rng.standard_normal((2, 3, 4))
    w = mg.tensor(weight, requires_grad=True)
    x = mg.tensor(np.stack([x, 2.0 * x], axis=1), requires_grad=True)  # (3, 2, 4)
    y = scale(x, w, power=2)
    assert np.array_equal(numpy(y), numpy(x) ** 2 * weight[:, None])
    y.sum().backward()
    assert np.array_equal(numpy(w.grad), (numpy(x) ** 2).sum(axis=1))
    assert x.grad is None
    assert scale(x[0], w[0]).shape == (2, 4)  # as ever, of one
    with pytest.raises(ValueError, match=r"scale: expected x \(2, \.\.\.\), an axis of replicas"):
        scale(x, w[:2])
    with pytest.raises(ValueError, match=r"scale: expected x \(R, \.\.\.\), an axis of replicas"):
        scale(x[:0], w[:0])
    with pytest.raises(ValueError, match=r"scale: expected x \(\.\.\., D\) and weight \(D,\)"):
        scale(x, w.reshape(3, 2, 2))


def test_parts_go_to_the_kernel_of_the_op_unless_one_takes_the_stack(rng, monkeypatch):
    monkeypatch.setattr(kernels, "KERNELS", [])
    scale, asked = scale_op(), []
    x, w = (mg.tensor(a) for a in rng.standard_normal((2, 3, 4)))

    @kernels.kernel(scale, device="cpu")
    def one(x, weight, power=1):
        asked.append(weight.shape)
        return scale.op.body(x, weight, power)

    @kernels.kernel(stack_of(scale), device="cpu")
    def whole(x, weight, power=1):
        asked.append(weight.shape)
        return x * weight, None

    assert [scale.op.stacked.name, scale.op.name] == ["stacked scale", "scale"]
    for this in (scale.op, scale.op.stacked):
        monkeypatch.setattr(this, "run", this.choose)
    plain = numpy(x) * numpy(w)
    assert np.array_equal(numpy(scale(x, w)), plain)
    assert asked == [(3, 4)]
    asked.clear()
    monkeypatch.setattr(scale.op.stacked.kernels[0], "body", lambda *_: kernels.Declined("never"))
    assert np.array_equal(numpy(scale(x, w)), plain)
    assert asked == [(4,)] * 3


# --- models ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("batch", [2, 9])  # the LSTM reads few ids from the embedding itself
@pytest.mark.parametrize("kind", MODELS)
def test_logits_and_gradients_are_those_of_each_model(kind, batch, start, rng):
    models = [model_of(kind, seed) for seed in (0, 1, 2)]
    stacked = nn.stack(models)
    ids = rng.integers(0, 11, (3, batch, 6))
    logits = stacked(mg.tensor(ids), start=start)
    c = rng.standard_normal(logits.shape)
    (logits * c).sum().backward()
    for r, model in enumerate(models):
        alone = model(mg.tensor(ids[r]), start=start)
        (alone * c[r]).sum().backward()
        close(numpy(logits)[r], numpy(alone))
        for name, gradient in gradients(model).items():
            close(gradients(stacked)[name][r], gradient, name)


@pytest.mark.parametrize("kind", MODELS)
def test_ids_that_all_share_and_hidden_states(kind, rng):
    models = [model_of(kind, seed) for seed in (0, 1)]
    ids = mg.tensor(rng.integers(0, 11, (3, 6)))
    found = nn.stack(models)(ids, start=2, return_hidden=True)
    for r, model in enumerate(models):
        wanted = model(ids, start=2, return_hidden=True)

        def tensors(y):
            parts = [tensors(item) if isinstance(item, (tuple, list)) else [item] for item in y]
            return [t for part in parts for t in part]

        for a, b in zip(tensors(found), tensors(wanted), strict=True):
            close(numpy(a)[r], numpy(b))


@pytest.mark.parametrize("kind", MODELS)
def test_dropout_in_training_and_trees_are_refused(kind, rng):
    models = [model_of(kind, seed, dropout=0.5) for seed in (0, 1)]
    stacked, ids = nn.stack(models), mg.tensor(rng.integers(0, 11, (2, 3, 6)))
    with pytest.raises(ValueError, match=r"dropout 0\.5 in training of 2 stacked models"):
        stacked(ids)
    close(numpy(stacked.eval()(ids))[1], numpy(models[1].eval()(ids[1])))
    with pytest.raises(ValueError, match=r"a stacked model expected ids \(R, B, S\)"):
        prefix.logits(stacked, prefix.PrefixTree(numpy(ids)[0]))


def test_attention_dropout_is_refused(rng):
    stacked = nn.stack([nn.MultiHeadAttention(4, 2, dropout=0.1) for _ in range(2)])
    x = mg.tensor(rng.standard_normal((2, 3, 5, 4)).astype(np.float32))
    with pytest.raises(ValueError, match=r"MultiHeadAttention: dropout 0\.1 in training"):
        stacked(x)
    stacked.eval()(x)


# --- optimizers and clipping ----------------------------------------------------------------------
OPTIMIZERS = {
    "adamw": lambda p, lr, decay: optim.AdamW(p, lr=lr, weight_decay=decay),
    "adam": lambda p, lr, decay: optim.Adam(p, lr=lr, weight_decay=decay),
    "sgd": lambda p, lr, decay: optim.SGD(p, lr=lr, weight_decay=decay),
    "momentum": lambda p, lr, decay: optim.SGD(p, lr=lr, momentum=0.9, weight_decay=decay),
    "nesterov": lambda p, lr, decay: optim.SGD(
        p, lr=lr, momentum=0.9, nesterov=True, weight_decay=decay
    ),
}
RATES, DECAYS = [1e-2, 3e-3, 0.0], [0.0, 0.5, 1.0]
SHAPES = [(), (5,), (0, 2), (3, 4), (300, 250)]  # the last is more than a piece


def parameters(rng, dtype):
    return [mg.tensor(rng.standard_normal((3, *s)).astype(dtype)) for s in SHAPES]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rates_and_decays_of_each_replica_bit_for_bit(name, dtype, rng):
    """Every element takes the same operations as alone, whatever stands beside it."""
    make, values = OPTIMIZERS[name], parameters(rng, dtype)
    stacked = [nn.Parameter(v) for v in map(mg.tensor, map(numpy, values))]
    alone = [[nn.Parameter(mg.tensor(numpy(v)[r], dtype)) for v in values] for r in range(3)]
    all_ = make(stacked, RATES, DECAYS)
    each = [make(p, RATES[r], DECAYS[r]) for r, p in enumerate(alone)]
    for step in range(4):
        if step == 2:
            all_.lr = np.array(RATES) / 2
            for optimizer, rate in zip(each, RATES, strict=True):
                optimizer.lr = rate / 2
        for i, p in enumerate(stacked):
            g = rng.standard_normal(p.shape).astype(dtype)
            p.grad = mg.tensor(g)
            for r in range(3):
                alone[r][i].grad = mg.tensor(g[r], dtype)
        for optimizer in (all_, *each):
            optimizer.step()
    for i, p in enumerate(stacked):
        assert np.array_equal(numpy(p), [numpy(alone[r][i]) for r in range(3)])


def test_one_rate_for_all_and_a_rate_for_each_that_is_the_same_agree(rng):
    found = []
    for rate, decay in ((1e-2, 0.5), ([1e-2] * 3, [0.5] * 3), (1e-2, [0.5] * 3)):
        (p,) = parameters(np.random.default_rng(0), np.float64)[3:4]
        p = nn.Parameter(p)
        optimizer = optim.AdamW([p], lr=rate, weight_decay=decay)
        p.grad = mg.tensor(np.ones(p.shape))
        optimizer.step()
        found.append(numpy(p))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_wrong_counts_are_refused_and_change_nothing():
    p = nn.Parameter(mg.tensor(np.ones((3, 2))))
    for rate, decay, words in (
        ([0.1, 0.2], 0.0, r"lr: 2 numbers need parameters of 2 replicas \(2, \.\.\.\); .*\(3, 2\)"),
        (0.1, [0.1] * 4, "weight_decay: 4 numbers"),
        ([0.1, -0.1, 0.1], 0.0, r"lr: expected numbers in \[0, inf\)"),
        ([0.1, math.nan, 0.1], 0.0, r"lr: expected numbers in \[0, inf\)"),
        (0.1, [0.1, -1.0, 0.1], "weight_decay: expected"),
    ):
        with pytest.raises(ValueError, match=words):
            optim.AdamW([p], lr=rate, weight_decay=decay)
    optimizer = optim.AdamW([p], lr=[0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="lr: 2 numbers"):
        optimizer.lr = [1.0, 2.0]
    assert optimizer.lr == (0.1, 0.2, 0.3)
    single = nn.Parameter(mg.tensor([1.0, 2.0]))
    groups = [{"params": [p], "weight_decay": [0.1] * 3}, {"params": [single]}]
    with pytest.raises(ValueError, match=r"weight_decay: 3 numbers .* one has shape \(2,\)"):
        optim.AdamW(groups)  # all are updated by replicas, or none
    with pytest.raises(ValueError, match="one lr > 0"):
        optim.SGD([{"params": [p], "lr": 0.1}], lr=[0.1, 0.2, 0.3])


def test_the_state_of_rates_goes_through_json(rng):
    def make(lr):
        p = nn.Parameter(mg.tensor(np.ones((3, 2))))
        return p, optim.AdamW([p], lr=lr, weight_decay=DECAYS)

    p, optimizer = make([0.1, 0.2, 0.3])
    p.grad = mg.tensor(rng.standard_normal((3, 2)))
    optimizer.step()
    state = optimizer.state_dict()
    slots = state.pop("slots")
    state = json.loads(json.dumps(state)) | {"slots": slots}
    _, other = make([1.0, 1.0, 1.0])
    other.load_state_dict(state)
    assert other.lr == (0.1, 0.2, 0.3)
    assert other.groups[0]["weight_decay"] == tuple(DECAYS)
    _, single = make(0.1)
    with pytest.raises(ValueError, match=r"lr: expected 0\.1 or its like"):
        single.load_state_dict(state)
    with pytest.raises(ValueError, match="lr: expected"):
        other.load_state_dict(state | {"lr": [0.1, 0.2]})


def test_clipping_is_by_the_norm_of_each_replica(rng):
    grads = [rng.standard_normal((3, *s)) for s in SHAPES]
    for g in grads:
        g[1] *= 1e-3
        g[2] = np.nan
    stacked = [mg.tensor(np.zeros(g.shape), requires_grad=True) for g in grads]
    for p, g in zip(stacked, grads, strict=True):
        p.grad = mg.tensor(g)
    norms = optim.clip_grad_norm(stacked, 1.0, replicas=3)
    assert norms.shape == (3,)
    for r in range(3):
        alone = [mg.tensor(np.zeros(g.shape[1:]), np.float64, requires_grad=True) for g in grads]
        for p, g in zip(alone, grads, strict=True):
            p.grad = mg.tensor(g[r], np.float64)
        norm = optim.clip_grad_norm(alone, 1.0)
        np.testing.assert_allclose(norms.numpy()[r], norm.item(), rtol=1e-12)
        for p, q in zip(stacked, alone, strict=True):
            np.testing.assert_allclose(numpy(p.grad)[r], numpy(q.grad), rtol=1e-12)
    with pytest.raises(ValueError, match=r"expected gradients \(2, \.\.\.\)"):
        optim.clip_grad_norm(stacked, 1.0, replicas=2)
    assert optim.clip_grad_norm([], 1.0, replicas=2).tolist() == [0.0, 0.0]


# --- training -------------------------------------------------------------------------------------
def trials_of(kind, **options):
    """Other seeds, and so other splits, weights and orders; other rates and decays."""
    return [
        Grokking(model=kind, seed=seed, lr=lr, weight_decay=decay, **{**SMALL, **options})
        for seed, lr, decay in ((0, 1e-3, 1.0), (42, 3e-3, 0.1), (7, 1e-2, 0.0))
    ]


def prepared(trial, dtype=np.float64):
    """A step of the trial."""
    mg.random.seed(trial.seed)
    made = trial.task("cpu")
    made.model = made.model.astype(dtype)
    made.train, made.val = (
        objective.batch_of(part, dtype=dtype) for part in (made.train_set, made.val_set)
    )
    made.drawn_from = made.train
    return loop.Step(made, loop.optimizer_of(trial, made.model), trial.clip)


def together(trials, steps):
    """The same of all as replicas."""
    made = task.GrokkingTask.stacked([step.task for step in steps])
    return loop.Step(made, loop.optimizer_of(trials[0], made.model, trials[1:]), trials[0].clip)


def rows_of(each, epochs=7):
    return (rows for epoch in range(epochs) for rows in each.task.order(epoch))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "momentum"])
@pytest.mark.parametrize("kind", MODELS)
def test_twenty_steps_equal_those_of_separate_models(kind, optimizer):
    """In float64. A step divides gradients by their size, so rounding grows, but not to 1e-10."""
    trials = trials_of(kind, optimizer=optimizer, clip=0.5)
    each = [prepared(trial) for trial in trials]
    stacked = together(trials, each)
    batches = zip(*map(rows_of, each), strict=True)
    for _, rows in zip(range(20), batches, strict=False):
        losses = stacked(np.stack(rows))
        for r, step in enumerate(each):
            assert abs(numpy(losses)[r] - step(rows[r]).item()) <= 1e-10
    for part, step in zip(nn.unstack(stacked.task.model), each, strict=True):
        wanted = step.task.model.state_dict()
        for name, value in part.state_dict().items():
            assert np.abs(value - wanted[name]).max() <= 1e-9, name
    for found, step in zip(measured(stacked.task), each, strict=True):
        assert found == pytest.approx(measured(step.task)[0], rel=1e-9)


def test_a_replica_that_is_not_finite_leaves_the_others_alone():
    trials = trials_of("gpt")
    found = []
    for broken in (False, True):
        each = [prepared(trial) for trial in trials]
        if broken:
            for p in each[1].task.model.parameters():
                p.data[...] = np.nan
        stacked = together(trials, each)
        with np.errstate(all="ignore"):
            for _ in range(3):
                stacked(np.tile(np.arange(24), (3, 1)))
        found.append(stacked.task.model.state_dict())
    for name, value in found[0].items():
        assert np.array_equal(value[[0, 2]], found[1][name][[0, 2]]), name
        assert np.isnan(found[1][name][1]).any()


@pytest.mark.parametrize("kind", MODELS)
def test_steps_stay_on_the_device_and_equal_those_on_the_cpu(kind, monkeypatch):
    """Three steps in float32: losses equal to 1e-5, some 50 roundings of an eps of 1.2e-7."""
    fake_gpu.install(monkeypatch)

    def losses(device):
        trials = trials_of(kind)
        stacked = together(trials, [loop.step_of(trial, device) for trial in trials])
        rows = np.stack([np.arange(9) + r for r in range(3)])
        steps = [stacked(rows) for _ in range(3)]
        assert {p.device for p in stacked.task.model.parameters()} == {device}
        assert {step.device for step in steps} == {device}
        parts = [part.to("cpu") for part in nn.unstack(stacked.task.model)]
        assert len(parts) == 3
        values = [record["val_loss"] for record in measured(stacked.task)]
        return [numpy(step.cpu()) for step in steps], values

    for found, wanted in zip(losses("cuda:0"), losses("cpu"), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


# --- trials together ------------------------------------------------------------------------------
def folders_of(path, count=3):
    return [path / f"trial-{i}" for i in range(count)]


def lines(folder):
    return records.read_records(folder / "metrics.jsonl")


def saved(folder):
    """The checkpoint's parameters and optimizer slots, as bytes by name."""
    found = mg.load(folder / "checkpoint.safetensors")
    return {name: t.numpy().tobytes() for name, t in found.items()}


def header(folder):
    return json.loads(read_file(folder / "checkpoint.safetensors")[1]["minigrad.checkpoint"])


def assert_alike(found, wanted):
    """Metrics of a trial run together and of one run alone: the first steps to rounding.

    float32 sums of some 10³ terms in another order, whose errors of random sign grow as the root:
    32 * 2^-23 = 4e-6; Adam's first steps divide by the gradients' own size.
    """
    assert [line["step"] for line in found] == [line["step"] for line in wanted]
    for a, b in zip(found[:4], wanted[:4], strict=True):
        assert a == pytest.approx(b, rel=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_trials_together_leave_what_each_would_leave_alone(kind, tmp_path):
    trials, folders = trials_of(kind), folders_of(tmp_path / "together")
    run_replicas(trials, folders)
    for trial, folder in zip(trials, folders, strict=True):
        alone = tmp_path / folder.name
        run(trial, alone)
        assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}
        assert_alike(lines(folder), lines(alone))
        assert saved(folder).keys() == saved(alone).keys()
        assert header(folder)["random"] == header(alone)["random"]
        assert records.read_json(folder / "settings.json") == records.read_json(
            alone / "settings.json"
        )
        status, other = (records.read_json(f / "status.json") for f in (folder, alone))
        assert {**status, "seconds": 0, "metrics": 0} == {**other, "seconds": 0, "metrics": 0}
        loaded, model, _ = task.load_model(folder)
        assert loaded == trial
        assert model.replicas is None
        train, val = (objective.batch_of(part) for part in task.data_of(trial))
        found = {"step": 15} | task.measure(model, train, val)
        assert found == pytest.approx(lines(folder)[-1], rel=1e-5)


def test_a_trial_begun_together_can_go_on_alone(tmp_path):
    trials, folders = trials_of("gpt"), folders_of(tmp_path)
    with pytest.raises(Interrupted):
        run_replicas(trials, folders, watcher=StopAt(2))
    run(trials[1], folders[1])
    run(trials[1], tmp_path / "alone")
    assert_alike(lines(folders[1]), lines(tmp_path / "alone"))


@pytest.mark.parametrize("kind", MODELS)
def test_resuming_together_is_bitwise_in_a_new_process(kind, tmp_path, start):
    trials = trials_of(kind)
    whole, parts = folders_of(tmp_path / "whole"), folders_of(tmp_path / "parts")
    run_replicas(trials, whole)
    with pytest.raises(Interrupted, match="step 7 of 15"):
        run_replicas(trials, parts, watcher=StopAt(7))
    code = (
        "import sys; from pathlib import Path\n"
        "from experiments.grokking.task import Grokking\n"
        "from experiments.train.replicas import run_replicas\n"
        f"run_replicas({trials!r}, [Path(a) for a in sys.argv[1:]])\n"
    )
    status, said = start("-c", code, *parts).end()
    assert status == 0, said
    for a, b in zip(whole, parts, strict=True):
        assert saved(a) == saved(b)
        assert (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()
        assert [s["from_step"] for s in records.read_json(b / "environment.json", list)] == [0, 7]


def test_trials_that_are_behind_go_first(tmp_path):
    """One stopped alone at step 6, one is new, one is finished and stays as it is."""
    trials, folders = trials_of("lstm"), folders_of(tmp_path)
    with pytest.raises(Interrupted):
        run(trials[0], folders[0], watcher=StopAt(6))
    run(trials[2], folders[2])
    before = saved(folders[2])

    spans = []

    class Asked(Watcher):
        def start(self, step, total):
            spans.append((step, total))

    run_replicas(trials, folders, watcher=Asked())
    assert spans == [(0, 6), (6, 15)]
    assert saved(folders[2]) == before
    for trial, folder in zip(trials, folders, strict=True):
        run(trial, tmp_path / "alone" / folder.name)
        assert_alike(lines(folder), lines(tmp_path / "alone" / folder.name))
        status = records.read_json(folder / "status.json")
        assert status["finished"]
        assert status["step"] == 15
    run_replicas(trials, folders, watcher=Asked())
    assert len(spans) == 2


def test_a_crash_while_checkpoints_are_written_is_made_good(tmp_path, monkeypatch):
    """The first trial has saved step 7 when the machine stops; the others have nothing yet."""
    trials, folders = trials_of("gpt"), folders_of(tmp_path)
    original = loop.save_checkpoint

    def crash(path, **given):
        if path.parent != folders[0]:
            raise KeyboardInterrupt
        original(path, **given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", crash)
        with pytest.raises(KeyboardInterrupt):
            run_replicas(trials, folders, watcher=StopAt(7))
    run_replicas(trials, folders)
    for trial, folder in zip(trials, folders, strict=True):
        run(trial, tmp_path / "alone" / folder.name)
        assert_alike(lines(folder), lines(tmp_path / "alone" / folder.name))


def test_more_steps_continue_finished_trials(tmp_path):
    trials = trials_of("lstm", steps=5)
    parts, whole = folders_of(tmp_path / "parts"), folders_of(tmp_path / "whole")
    run_replicas(trials, parts)
    longer = [replace(trial, steps=14) for trial in trials]
    run_replicas(longer, parts)
    run_replicas(longer, whole)
    for a, b in zip(parts, whole, strict=True):
        assert saved(a) == saved(b)
        assert (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()


def test_a_trial_that_diverges_ends_and_the_others_go_on(tmp_path):
    trials = trials_of("gpt", optimizer="sgd", clip=1e30)
    trials[1] = replace(trials[1], lr=1e30)
    folders = folders_of(tmp_path)
    with np.errstate(all="ignore"):
        run_replicas(trials, folders)
    first, second, third = (records.read_json(f / "status.json") for f in folders)
    assert second["diverged"]
    assert second["finished"]
    assert lines(folders[1])[-1]["norm"] is None
    assert second["step"] == lines(folders[1])[-1]["step"] < 15
    for status in (first, third):
        assert not status["diverged"]
        assert status["step"] == 15
    before = [(f / "metrics.jsonl").read_bytes() for f in folders]
    run_replicas(trials, folders)
    assert [(f / "metrics.jsonl").read_bytes() for f in folders] == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"d": 8}, "trials with d=16 and d=8 cannot run together"),
        ({"model": "gpt"}, "model=lstm and model=gpt"),
        ({"batch_size": 5}, "batch_size=9 and batch_size=5"),
        ({"steps": 3}, "steps=14 and steps=3"),
        ({"dropout": 0.1}, "dropout"),
    ],
)
def test_trials_that_do_not_fit_together_are_refused_before_anything_is_written(
    change, words, tmp_path
):
    trials = trials_of("lstm")
    trials[2] = replace(trials[2], **change)
    with pytest.raises(ValueError, match=words) as error:
        run_replicas(trials, folders_of(tmp_path))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_other_mistakes_are_refused_before_anything_is_written(tmp_path):
    trials, folders = trials_of("lstm"), folders_of(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be stacked: .*dropout=0\.1"):
        run_replicas([replace(trial, dropout=0.1) for trial in trials], folders)
    for wrong in (folders[:2], [folders[0]] * 3):
        with pytest.raises(ValueError, match="a folder of its own"):
            run_replicas(trials, wrong)
    with pytest.raises(ValueError, match="one or more trials"):
        run_replicas([], [])
    assert not list(tmp_path.iterdir())
    run(replace(trials[1], weight_decay=0.2), folders[1])
    with pytest.raises(ValueError, match="weight_decay"):
        run_replicas(trials, folders)
    assert [path.name for path in tmp_path.iterdir()] == ["trial-1"]


def test_data_of_other_shapes_is_refused(tmp_path, monkeypatch):
    original = task.data_of

    def uneven(trial):
        train, val = original(trial)
        return (train.take(slice(20)), val) if trial.seed == 42 else (train, val)

    monkeypatch.setattr(task, "data_of", uneven)
    with pytest.raises(ValueError, match=r"data of \(24, 6, 4\) and \(20, 6, 4\)"):
        run_replicas(trials_of("lstm"), folders_of(tmp_path))
    assert not list(tmp_path.iterdir())


def test_trials_on_another_device(tmp_path, monkeypatch):
    """Equal to 1e-5 as above; checkpoints come from the device, and go there again."""
    fake_gpu.install(monkeypatch)
    monkeypatch.setattr(records, "environment", lambda device: {"device": device})
    trials, here, there = trials_of("gpt"), *map(folders_of, (tmp_path / "a", tmp_path / "b"))
    run_replicas(trials, here)
    with pytest.raises(Interrupted):
        run_replicas(trials, there, device="cuda", watcher=StopAt(3))
    run_replicas(trials, there, device="cuda")
    for a, b in zip(here, there, strict=True):
        assert_alike(lines(b), lines(a))
        assert records.read_json(b / "environment.json", list)[0]["device"] == "cuda:0"


# --- the command ----------------------------------------------------------------------------------
def sanity_command(args):
    return main(sanity.EXPERIMENT, args, description=sanity.__doc__)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_leaves_the_same_files(workers, tmp_path, capsys):
    command = ["--device", "cpu", "--steps", "2", "--no-kernels", "--seeds", "3", "4"]
    names = []
    for how in (["--replicas", "--workers", str(workers)], []):
        out = tmp_path / f"run-{len(how)}"
        assert sanity_command([*command, "--out", str(out), *how]) == 0
        files = [path for path in out.rglob("*") if path.is_file()]
        names.append(sorted(str(path.relative_to(out)) for path in files))
        for folder in out.glob("*-seed*"):
            assert len(lines(folder)) == 3
    assert names[0] == names[1]
    for path in (tmp_path / "run-0").glob("*-seed*"):
        assert_alike(lines(tmp_path / "run-3" / path.name), lines(path))
    if workers == 1:
        assert "lstm-seed3 and 1 more: step 2 of 2" in capsys.readouterr().err


def test_the_command_goes_on_together_with_what_was_run_apart(tmp_path):
    command = ["--device", "cpu", "--model", "lstm", "--no-kernels", "--out", str(tmp_path / "run")]
    assert sanity_command([*command, "--steps", "2"]) == 0
    assert sanity_command([*command, "--steps", "4", "--resume", "--replicas"]) == 0
    for seed in (0, 42):
        assert records.read_json(tmp_path / "run" / f"lstm-seed{seed}" / "status.json")["step"] == 4


def test_one_seed_alone_is_run_as_ever():
    options = sanity.Options(seeds=(5,), replicas=True)
    jobs = jobs_of(options, Path("run"))
    assert [[trial.model for trial, _ in job] for job in jobs] == [["lstm"], ["gpt"]]
