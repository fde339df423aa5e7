"""Modules: names, state, switches, repr, and every layer against its PyTorch namesake."""

import collections
import copy
import math
import re

import numpy as np
import pytest
import torch

import minigrad as mg
from minigrad import nn, optim

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
DTYPES = ["float64", "float32"]


def assert_close(ours, theirs, terms, what=""):
    """Equal up to the rounding of sums of `terms` numbers of the size of the largest result.

    Each of the two computations may be off by terms × eps/2 of that size.
    """
    ours = ours.detach().numpy() if isinstance(ours, mg.Tensor) else np.asarray(ours)
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    bound = terms * EPS[str(ours.dtype)] * max(1.0, np.abs(theirs).max(initial=0.0))
    error = np.abs(ours - theirs).max(initial=0.0)
    assert error <= bound, f"{what}: error {error:.3g} > {bound:.3g}"


def twins(ours, theirs, dtype):
    """The two modules with one dtype and the weights of PyTorch's."""
    theirs = theirs.to(getattr(torch, dtype))
    ours.astype(dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare(ours, theirs, y, ty, inputs, tinputs, terms):
    """Outputs, then after a backward pass with one random cotangent every gradient, by name."""
    ys, tys = (y, ty) if isinstance(y, tuple) else ((y,), (ty,))
    rng = np.random.default_rng(7)
    loss, tloss = 0.0, 0.0
    for i, (a, b) in enumerate(zip(ys, tys, strict=True)):
        assert_close(a, b, terms, f"output {i}")
        g = rng.standard_normal(a.shape).astype(a.dtype)
        loss, tloss = loss + (a * mg.tensor(g)).sum(), tloss + (b * torch.from_numpy(g)).sum()
    loss.backward()
    tloss.backward()
    grads, tgrads = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert list(grads) == list(tgrads)
    for name in grads:
        assert_close(grads[name].grad, tgrads[name].grad, terms, f"gradient of {name}")
    for i, (a, b) in enumerate(zip(inputs, tinputs, strict=True)):
        assert_close(a.grad, b.grad, terms, f"gradient of input {i}")
    assert ours.count_parameters() == sum(p.numel() for p in theirs.parameters())


def both(x, dtype):
    """One array as a leaf of each library."""
    x = x.astype(dtype)
    return mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)


# --- layers against PyTorch -----------------------------------------------------------------------
# (ours, PyTorch's, shape of x, terms: the longest sum forward or back, times a few passes)
LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), lambda: torch.nn.Linear(6, 5), (4, 3, 6), 4 * 12),
    "linear_no_bias": (
        lambda: nn.Linear(6, 5, bias=False),
        lambda: torch.nn.Linear(6, 5, bias=False),
        (4, 6),
        4 * 6,
    ),
    "layer_norm": (lambda: nn.LayerNorm(8), lambda: torch.nn.LayerNorm(8), (3, 4, 8), 8 * 12),
    "rms_norm": (
        lambda: nn.RMSNorm(8),
        lambda: torch.nn.RMSNorm(8, eps=1e-6),
        (3, 4, 8),
        8 * 12,
    ),
    "batch_norm": (lambda: nn.BatchNorm1d(5), lambda: torch.nn.BatchNorm1d(5), (7, 5), 8 * 7),
    "batch_norm_3d": (
        lambda: nn.BatchNorm1d(5),
        lambda: torch.nn.BatchNorm1d(5),
        (4, 5, 3),
        8 * 12,
    ),
    "mlp": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.ReLU(), nn.Tanh()),
        lambda: torch.nn.Sequential(
            torch.nn.Linear(6, 8),
            torch.nn.GELU(),
            torch.nn.Linear(8, 8),
            torch.nn.ReLU(),
            torch.nn.Tanh(),
        ),
        (5, 6),
        16 * 8,
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_torch(name, dtype, rng):
    make, make_torch, shape, terms = LAYERS[name]
    ours, theirs = twins(make(), make_torch(), dtype)
    for p in theirs.parameters():  # norms start at 1 and 0, which would hide a factor
        torch.nn.init.normal_(p)
    ours.load_state_dict(theirs.state_dict())
    x, tx = both(rng.standard_normal(shape), dtype)
    compare(ours, theirs, ours(x), theirs(tx), [x], [tx], terms)


@pytest.mark.parametrize("shape", [(7, 5), (4, 5, 3)])
def test_batch_norm_statistics_and_evaluation(shape, rng):
    ours, theirs = twins(nn.BatchNorm1d(5), torch.nn.BatchNorm1d(5), "float64")
    for _ in range(3):
        x = rng.standard_normal(shape) * 3 + 1
        ours(mg.tensor(x))
        theirs(torch.tensor(x))
    for name, value in theirs.state_dict().items():
        got = ours.state_dict()[name]
        assert got.dtype == value.numpy().dtype
        np.testing.assert_allclose(got, value, rtol=21 * 2**-52)  # sums of 21 numbers
    before = ours.state_dict()
    x, tx = both(rng.standard_normal(shape), "float64")
    compare(ours.eval(), theirs.eval(), ours(x), theirs(tx), [x], [tx], 8 * 12)
    for name, value in before.items():
        np.testing.assert_array_equal(ours.state_dict()[name], value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_with_padding(dtype, rng):
    theirs = torch.nn.Embedding(7, 3, padding_idx=2)
    ours, theirs = twins(nn.Embedding(7, 3, padding_idx=2), theirs, dtype)
    ids = rng.integers(0, 7, (4, 5))
    compare(ours, theirs, ours(ids), theirs(torch.tensor(ids)), [], [], 20)
    assert not ours.weight.grad.data[2].any()
    assert not nn.Embedding(7, 3, padding_idx=2).weight.data[2].any()
    np.testing.assert_array_equal(ours(mg.tensor(ids)).data, ours(ids).data)
    for bad in (7, -1):
        with pytest.raises(IndexError, match=str(bad)):
            ours(np.array([bad]))
    with pytest.raises(ValueError, match=r"expected padding_idx in .* got 7"):
        nn.Embedding(7, 3, padding_idx=7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_lstm_equals_torch(dtype, layers, batch_first, bias, rng):
    settings = {"num_layers": layers, "batch_first": batch_first, "bias": bias}
    ours, theirs = twins(nn.LSTM(5, 4, **settings), torch.nn.LSTM(5, 4, **settings), dtype)
    x, tx = both(rng.standard_normal((6, 3, 5)), dtype)
    batch = 6 if batch_first else 3
    h, th = both(rng.standard_normal((layers, batch, 4)), dtype)
    c, tc = both(rng.standard_normal((layers, batch, 4)), dtype)
    y, (h_n, c_n) = ours(x, (h, c))
    ty, (th_n, tc_n) = theirs(tx, (th, tc))
    # weight gradients sum 18 products; errors pass through up to 6 steps × 3 layers
    compare(ours, theirs, (y, h_n, c_n), (ty, th_n, tc_n), [x, h, c], [tx, th, tc], 18 * 18)


def test_lstm_zero_state_and_one_bias(rng):
    theirs = torch.nn.LSTM(5, 4, 2).double()
    ours = nn.LSTM(5, 4, 2, recurrent_bias=False).astype("float64")
    assert [n for n, _ in ours.named_parameters() if "bias_hh" in n] == []
    state = theirs.state_dict()
    one = {k: v for k, v in state.items() if "bias_hh" not in k}
    one |= {k: v + state[k.replace("ih", "hh")] for k, v in state.items() if "bias_ih" in k}
    ours.load_state_dict(one)
    x = rng.standard_normal((6, 3, 5))
    y, (h, c) = ours(mg.tensor(x))
    ty, (th, tc) = theirs(torch.tensor(x))
    for a, b in ((y, ty), (h, th), (c, tc)):
        assert_close(a, b, 18 * 18)


def test_lstm_dropout_is_between_layers_only(rng):
    x = mg.tensor(rng.standard_normal((6, 3, 5)))
    model = nn.LSTM(5, 4, 2, dropout=0.5).astype("float64")
    first = nn.LSTM(5, 4, 1).astype("float64")
    first.load_state_dict({k: v for k, v in model.state_dict().items() if "l0" in k})
    second = nn.LSTM(4, 4, 1).astype("float64")
    second.load_state_dict(
        {k.replace("l1", "l0"): v for k, v in model.state_dict().items() if "l1" in k}
    )
    mg.random.seed(3)
    y, (h, c) = model(x)
    mg.random.seed(3)
    y1, (h1, c1) = first(x)
    y2, (h2, c2) = second(mg.dropout(y1, 0.5, True))
    np.testing.assert_array_equal(y.data, y2.data)
    np.testing.assert_array_equal(h.data, np.concatenate([h1.data, h2.data]))
    np.testing.assert_array_equal(c.data, np.concatenate([c1.data, c2.data]))
    quiet = model.eval()(x)[0]
    np.testing.assert_array_equal(quiet.data, second(first(x)[0])[0].data)
    model.train()(x)[0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
def test_lstm_cell_equals_torch(dtype, bias, rng):
    ours, theirs = twins(nn.LSTMCell(5, 4, bias), torch.nn.LSTMCell(5, 4, bias), dtype)
    x, tx = both(rng.standard_normal((3, 5)), dtype)
    state, tstate = ours(x), theirs(tx)
    y, ty = ours(x, state), theirs(tx, tstate)
    compare(ours, theirs, y, ty, [x], [tx], 6 * 9)
    assert "bias_hh" not in dict(nn.LSTMCell(5, 4, recurrent_bias=False).named_parameters())


def attention_case(case, rng):
    """Arguments for ours and for torch.nn.MultiheadAttention, where True forbids."""
    keep = rng.random((5, 5)) < 0.7
    keep[:, 0] = True  # PyTorch gives NaN for a row that sees nothing
    real = np.ones((3, 5), dtype=bool)
    real[1, 3:] = False
    bias = rng.standard_normal((5, 5))
    triangle = np.triu(np.ones((5, 5), dtype=bool), 1)
    forbid = torch.tensor
    return {
        "plain": ({}, {}),
        "causal": ({"causal": True}, {"attn_mask": forbid(triangle)}),
        "mask": ({"mask": keep}, {"attn_mask": forbid(~keep)}),
        "batch_mask": (
            {"mask": np.stack([keep, keep.T | np.eye(5, dtype=bool), keep])},
            {
                "attn_mask": forbid(
                    np.repeat(~np.stack([keep, keep.T | np.eye(5, dtype=bool), keep]), 4, axis=0)
                )
            },
        ),
        "added": ({"mask": bias}, {"attn_mask": forbid(bias)}),
        "keys": ({"key_mask": real}, {"key_padding_mask": forbid(~real)}),
        "mask_and_keys": (
            {"mask": keep, "key_mask": real},
            {"attn_mask": forbid(~keep), "key_padding_mask": forbid(~real)},
        ),
        "added_and_keys": (
            {"mask": bias, "key_mask": real},
            {
                "attn_mask": forbid(bias),
                "key_padding_mask": torch.zeros(3, 5)
                .double()
                .masked_fill(forbid(~real), -math.inf),
            },
        ),
    }[case]


CASES = ["plain", "causal", "mask", "batch_mask", "added", "keys", "mask_and_keys"]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("case", [*CASES, "added_and_keys"])
def test_self_attention_equals_torch(case, bias, rng):
    theirs = torch.nn.MultiheadAttention(8, 4, bias=bias, batch_first=True)
    ours, theirs = twins(nn.MultiHeadAttention(8, 4, bias=bias), theirs, "float64")
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    ours.load_state_dict(theirs.state_dict())
    x, tx = both(rng.standard_normal((3, 5, 8)), "float64")
    mine, other = attention_case(case, rng)
    y, weights = ours(x, **mine, return_weights=True)
    ty, tweights = theirs(tx, tx, tx, **other, average_attn_weights=False)
    np.testing.assert_array_equal(ours(x, **mine).data, y.data)
    # sums over 8 features, 5 keys, 15 rows; scores of size s move a softmax by s eps, s < 50
    compare(ours, theirs, (y, weights), (ty, tweights), [x], [tx], 50 * 15)


def test_self_attention_float32_equals_torch(rng):
    theirs = torch.nn.MultiheadAttention(8, 4, batch_first=True)
    ours, theirs = twins(nn.MultiHeadAttention(8, 4), theirs, "float32")
    x, tx = both(rng.standard_normal((3, 5, 8)), "float32")
    compare(ours, theirs, ours(x), theirs(tx, tx, tx)[0], [x], [tx], 5 * 15)


@pytest.mark.parametrize("shared", [False, True])
def test_cross_attention_equals_torch(shared, rng):
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    ours, theirs = twins(nn.MultiHeadAttention(8, 2), theirs, "float64")
    torch.nn.init.normal_(theirs.in_proj_bias)
    ours.load_state_dict(theirs.state_dict())
    q, tq = both(rng.standard_normal((3, 5, 8)), "float64")
    k, tk = both(rng.standard_normal((3, 7, 8)), "float64")
    v, tv = (k, tk) if shared else both(rng.standard_normal((3, 7, 8)), "float64")
    inputs, tinputs = ([q, k], [tq, tk]) if shared else ([q, k, v], [tq, tk, tv])
    y = ours(q, k) if shared else ours(q, k, v)
    compare(ours, theirs, y, theirs(tq, tk, tv)[0], inputs, tinputs, 50 * 21)


def test_attention_dropout_and_errors(rng):
    model = nn.MultiHeadAttention(8, 2, dropout=0.5).astype("float64")
    x = mg.tensor(rng.standard_normal((3, 5, 8)))
    y, weights = model(x, return_weights=True)
    np.testing.assert_allclose(weights.data.sum(-1), 1.0, rtol=5 * 2**-52)  # before dropout
    plain = model.eval()(x)
    assert not np.array_equal(y.data, plain.data)
    model.train()(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.dropout = 0.0
    np.testing.assert_array_equal(model.train()(x).data, plain.data)
    hidden = np.zeros((3, 5), dtype=bool)
    nothing = model(x, key_mask=hidden)  # zeros from every head leave the output bias
    np.testing.assert_array_equal(nothing.data, np.broadcast_to(model.out_proj.bias.data, y.shape))
    with pytest.raises(ValueError, match="3 heads do not divide dim 8"):
        nn.MultiHeadAttention(8, 3)
    with pytest.raises(ValueError, match=r"expected query \(B, T, 8\), got \(5, 8\)"):
        model(x[0])
    with pytest.raises(ValueError, match="needs a key"):
        model(x, value=x)
    with pytest.raises(TypeError, match="key_mask"):
        model(x, key_mask=np.ones((3, 5)))


def test_sinusoidal_positions_are_the_formula(rng):
    x = mg.tensor(rng.standard_normal((2, 5, 6)).astype("float32"))
    for exponent, factor in (("vaswani", 2), ("halved", 1)):
        model = nn.SinusoidalPositions(9, 6, exponent=exponent)
        table = np.empty((9, 6))
        for t in range(9):
            for k in range(3):
                angle = t / 10000 ** (factor * k / 6)
                table[t, 2 * k : 2 * k + 2] = math.sin(angle), math.cos(angle)
        # one rounding to float32 of numbers up to 1
        np.testing.assert_allclose(model.table.data, table, rtol=0, atol=2.0**-24)
        np.testing.assert_array_equal(model(x).data, x.data + model.table.data[:5])
        assert model.state_dict() == {}
        assert model.count_parameters() == 0
    learned = nn.LearnedPositions(9, 6, std=0.02)
    y = learned(x)
    y.sum().backward()
    expected = np.zeros((9, 6))
    expected[:5] = 2.0
    np.testing.assert_array_equal(learned.weight.grad.data, expected)
    for positions in (learned, nn.SinusoidalPositions(4, 6)):
        with pytest.raises(ValueError, match=r"T <= [49]"):
            positions(mg.tensor(np.zeros((2, 10, 6), "float32")))
    with pytest.raises(ValueError, match="even"):
        nn.SinusoidalPositions(4, 5)


def test_dropout_keeps_the_mean_and_does_nothing_in_evaluation():
    x = mg.tensor(np.ones(10_000, dtype="float32"))
    model = nn.Dropout(0.25)
    y = model(x).data
    assert set(np.unique(y)) == {np.float32(0.0), np.float32(1 / 0.75)}
    # the count of dropped ones is binomial: 5 standard deviations
    assert abs((y == 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 10_000)
    assert model.eval()(x) is x
    with pytest.raises(ValueError, match=r"0 <= p <= 1, got 1.5"):
        nn.Dropout(1.5)


# --- the tree -------------------------------------------------------------------------------------
class Tied(nn.Module):
    """A model with everything that names must get right: nesting, a tied weight, a buffer."""

    def __init__(self):
        self.embedding = nn.Embedding(5, 3)
        self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
        self.scale = nn.Parameter(mg.tensor([2.0]))
        self.register_buffer("offset", mg.tensor([0.5]))
        self.head = nn.Linear(3, 5)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        x = self.embedding(ids) * self.scale + self.offset
        for block in self.blocks:
            x = mg.tanh(block(x))
        return self.head(x)


class TiedTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 3)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(3, 3) for _ in range(2))
        self.scale = torch.nn.Parameter(torch.tensor([2.0]))
        self.register_buffer("offset", torch.tensor([0.5]))
        self.head = torch.nn.Linear(3, 5)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        x = self.embedding(ids) * self.scale + self.offset
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.head(x)


def test_names_order_and_tied_weights(rng):
    ours, theirs = twins(Tied(), TiedTorch(), "float64")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_buffers()] == ["offset"]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    ids = rng.integers(0, 5, (4, 2))
    compare(ours, theirs, ours(ids), theirs(torch.tensor(ids)), [], [], 8 * 40)


def test_state_dict_goes_both_ways():
    ours, theirs = Tied(), TiedTorch()
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name], value.numpy())
    back = Tied()
    back.load_state_dict(theirs.state_dict())
    for name, value in ours.state_dict().items():
        np.testing.assert_array_equal(back.state_dict()[name], value)
    assert back.head.weight is back.embedding.weight
    other = Tied()
    other.load_state_dict({k: mg.Tensor(v) for k, v in ours.state_dict().items()})
    np.testing.assert_array_equal(other.scale.data, ours.scale.data)


def test_state_dict_is_a_snapshot():
    model = nn.Linear(2, 2)
    before = model.state_dict()
    kept = before["weight"].copy()
    model.weight.data += 1.0
    np.testing.assert_array_equal(before["weight"], kept)
    model.load_state_dict(before)
    before["weight"] += 1.0
    np.testing.assert_array_equal(model.weight.data, kept)


def test_load_state_dict_reports_everything_and_changes_nothing():
    model = Tied()
    before = model.state_dict()
    state = model.state_dict()
    state = {k: v + 1 for k, v in state.items()}
    del state["scale"]
    state["blocks.2.weight"] = np.zeros((3, 3), "float32")
    state["blocks.0.weight"] = np.zeros((3, 4), "float32")
    state["blocks.1.bias"] = state["blocks.1.bias"].astype("float64")
    state["offset"] = "text"
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    lines = str(caught.value).splitlines()
    assert "5 problem(s)" in lines[0]
    assert {" ".join(line.split()) for line in lines[1:]} == {
        "missing: scale",
        "unexpected: blocks.2.weight",
        "shape: blocks.0.weight expected (3, 3), got (3, 4)",
        "dtype: blocks.1.bias expected float32, got float64",
        "dtype: offset expected float32, got str",
    }
    for name, value in before.items():
        np.testing.assert_array_equal(model.state_dict()[name], value)


def test_load_state_dict_refuses_tied_weights_that_differ():
    model = Tied()
    state = model.state_dict()
    state["head.weight"] = state["head.weight"] + 1
    with pytest.raises(ValueError, match=r"embedding.weight and head.weight have different"):
        model.load_state_dict(state)


def test_load_between_forward_and_backward_is_caught(rng):
    model = nn.Linear(3, 2)
    y = model(mg.tensor(rng.standard_normal((4, 3)).astype("float32"), requires_grad=True))
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="changed"):
        y.sum().backward()


def test_load_converts_byte_order():
    model = nn.Linear(2, 2)
    state = model.state_dict()
    kept = state["weight"]
    state["weight"] = kept.astype(">f4")
    model.load_state_dict(state)
    np.testing.assert_array_equal(model.weight.data, kept)
    assert model.weight.dtype.isnative


def test_freezing_keeps_gradients_hooks_and_what_is_under_way():
    layer, seen = nn.Linear(2, 1), []
    x = mg.tensor([[1.0, 2.0]])
    layer.weight.register_hook(lambda g: seen.append(g.tolist()))
    layer(x).sum().backward()
    under_way = layer(x).sum()
    layer.requires_grad_(False)
    assert not layer.weight.requires_grad
    assert layer.weight.grad.tolist() == [[1.0, 2.0]]
    assert not layer(x).requires_grad  # a constant from now on
    under_way.backward()  # from before
    assert layer.weight.grad.tolist() == [[2.0, 4.0]]
    layer.requires_grad_(False).requires_grad_(True)
    layer(x).sum().backward()
    assert layer.weight.grad.tolist() == [[3.0, 6.0]]
    assert seen == [[[1.0, 2.0]]] * 3


def test_frozen_parameters_are_not_stepped_nor_clipped_nor_lost():
    layer = nn.Linear(2, 1)
    layer(mg.tensor([[3.0, 4.0]])).sum().backward()
    layer.weight.requires_grad_(False)
    before = layer.weight.tolist()
    norm = optim.clip_grad_norm(layer.parameters(), 0.5)
    assert norm.item() == 1.0  # of the bias only
    optim.SGD(layer.parameters(), lr=0.1).step()
    assert layer.weight.tolist() == before
    assert layer.weight.grad.tolist() == [[3.0, 4.0]]
    layer.astype(np.float64).weight.requires_grad_()
    layer(mg.tensor(np.array([[1.0, 1.0]]))).sum().backward()
    assert layer.weight.grad.tolist() == [[4.0, 5.0]]
    layer.weight.requires_grad_(False)
    layer.zero_grad()
    assert layer.weight.grad is None
    layer.weight.grad = None  # also where there was never one
    mg.tensor([1.0]).grad = None
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        mg.tensor([1.0]).grad = mg.tensor([1.0])


def test_train_eval_and_zero_grad_reach_every_module():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 1)))
    assert all(m.training for m in model.modules())
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train()[1][0].training
    x = mg.tensor(np.ones((4, 2), dtype="float32"))
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model[0].requires_grad_(False)
    model(x).sum().backward()
    model.zero_grad()  # with frozen parameters among them
    assert model[0].weight.grad is None
    assert not model[0].weight.requires_grad
    model.requires_grad_()
    assert model[0].weight.requires_grad


def test_astype_keeps_identity_gradients_and_integer_buffers():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    weight = model[0].weight
    model(mg.tensor(np.eye(2, dtype="float32"))).sum().backward()
    grad = weight.grad.data.copy()
    assert model.astype("float64") is model
    assert model[0].weight is weight
    assert weight.dtype == weight.grad.dtype == model[1].running_mean.dtype == np.float64
    assert model[1].num_batches_tracked.dtype == np.int64
    np.testing.assert_array_equal(weight.grad.data, grad)
    model(mg.tensor(np.eye(2))).sum().backward()  # adds to a gradient of the new dtype
    with pytest.raises(TypeError, match="int64"):
        model.astype("int64")
    assert model.to("cpu") is model


def test_deepcopy_shares_nothing():
    model = Tied()
    model(np.array([1])).sum().backward()
    other = copy.deepcopy(model)
    assert other.head.weight is other.embedding.weight
    assert other.count_parameters() == model.count_parameters()
    kept = model.state_dict()
    other.zero_grad()
    other(np.array([1, 2])).sum().backward()
    with mg.no_grad():
        for p in other.parameters():
            p.assign_(p + 1.0)
    assert model.scale.grad is not None
    for name, value in kept.items():
        np.testing.assert_array_equal(model.state_dict()[name], value)


def test_a_parameter_is_a_leaf_in_c_order_of_a_floating_dtype():
    p = nn.Parameter([[1.0, 2.0]])
    assert p.requires_grad
    assert p.is_leaf
    assert not nn.Parameter(mg.tensor([1.0]), requires_grad=False).requires_grad
    assert nn.Parameter(mg.Tensor(np.ones((2, 3)).T)).data.flags.c_contiguous
    with pytest.raises(TypeError, match="int64"):
        nn.Parameter(mg.tensor([1]))


def test_attributes_that_would_be_lost_are_refused():
    model = Tied()
    with pytest.raises(AttributeError, match="embeding"):
        _ = model.embeding
    with pytest.raises(TypeError, match="assign_"):
        model.scale = mg.tensor([3.0])
    with pytest.raises(TypeError, match="ModuleList"):
        model.extra = [nn.Linear(2, 2)]
    with pytest.raises(TypeError, match="ModuleList"):
        model.extra = {"a": nn.Parameter([1.0])}
    with pytest.raises(TypeError, match="buffer"):
        model.offset = 3.0
    with pytest.raises(ValueError, match="already has"):
        model.register_buffer("scale", mg.tensor([1.0]))
    with pytest.raises(NotImplementedError, match="Module does not define"):
        nn.Module()()
    model.scale = None
    assert "scale" not in model.state_dict()
    model.numbers = [1, 2]


HIDING = {
    "a list": lambda item: [item],
    "a tuple": lambda item: (1, item),
    "a dict": lambda item: {"a": item},
    "a set": lambda item: {item},
    "a deque": lambda item: collections.deque([item]),
    "a list in a dict in a tuple": lambda item: ({"a": [[], [item]]},),
}


@pytest.mark.parametrize("item", [nn.Linear(2, 2), nn.Parameter([1.0])], ids=["module", "p"])
@pytest.mark.parametrize("container", HIDING)
def test_parameters_in_a_plain_container_are_refused_whenever_it_was_filled(container, item):
    hiding = HIDING[container](item)
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"Sequential\.extra: .*use nn\.ModuleList"):
        model.extra = hiding
    assert not hasattr(model, "extra")
    model[0].extra = filled = []
    model[0].also = {"numbers": (1, "two", np.ones(3), mg.tensor([1.0]))}
    assert model.count_parameters() == 6
    filled.append(hiding)
    for look in (
        lambda: list(model.parameters()),
        model.zero_grad,
        model.state_dict,
        lambda: optim.SGD(model.parameters(), 0.1),
        lambda: model.astype("float64"),
        lambda: repr(model),
    ):
        with pytest.raises(TypeError, match=r"Linear\.extra: parameters inside a plain list"):
            look()
    filled.clear()
    assert model.count_parameters() == 6


def test_names_with_dots_would_be_ambiguous():
    model = nn.Sequential(nn.Linear(2, 2))
    for value in (nn.Linear(2, 2), nn.Parameter([1.0])):
        with pytest.raises(ValueError, match=r"Sequential: expected a name without dots.* got '0"):
            setattr(model, "0.weight", value)
    with pytest.raises(ValueError, match="without dots"):
        model.register_buffer("0.weight", mg.tensor([1.0]))
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


# what a list does to [0, 1, 2, 3]; 7, 8 are new
CHANGES = {
    "append": lambda m: m.append(7),
    "extend": lambda m: m.extend(iter([7, 8])),
    "extend by itself": lambda m: m.extend(m),
    "+=": lambda m: m.__iadd__([7, 8]),
    "insert": lambda m: m.insert(1, 7),
    "insert before the last": lambda m: m.insert(-1, 7),
    "set": lambda m: m.__setitem__(1, 7),
    "set the last": lambda m: m.__setitem__(-1, 7),
    "set some": lambda m: m.__setitem__(slice(1, 3), [7, 8, 0]),
    "delete": lambda m: m.__delitem__(0),
    "delete some": lambda m: m.__delitem__(slice(None, None, 2)),
    "delete and append": lambda m: (m.__delitem__(1), m.append(7), m.append(8)),
    "pop": lambda m: m.pop(),
    "pop the first": lambda m: m.pop(0),
    "remove": lambda m: m.remove(2),
    "reverse": lambda m: m.reverse(),
    "clear": lambda m: m.clear(),
}


@pytest.mark.parametrize("kind", [nn.ModuleList, nn.Sequential])
@pytest.mark.parametrize("change", CHANGES)
def test_a_module_list_changes_as_a_list_does_and_its_names_are_its_places(change, kind):
    class Numbers(kind):
        """Numbers in the place of modules: number n is a Linear of n + 1 outputs."""

        def __setitem__(self, index, value):
            if isinstance(index, slice):
                value = [linear(n) for n in value]
            super().__setitem__(index, linear(value))

        def insert(self, index, value):
            super().insert(index, linear(value))

        def remove(self, value):
            super().remove(linear(value))

    linears = {n: nn.Linear(1, n + 1) for n in range(9)}

    def linear(n):
        return linears[n] if isinstance(n, int) else n

    ours, plain = Numbers(), [0, 1, 2, 3]
    ours.extend(plain)
    CHANGES[change](ours)
    CHANGES[change](plain)
    assert [m.weight.shape[0] - 1 for m in ours] == plain
    assert [m.weight.shape[0] - 1 for m in (ours[i] for i in range(-len(ours), 0))] == plain
    names = [f"{place}.{kind}" for place in range(len(plain)) for kind in ("weight", "bias")]
    assert list(ours.state_dict()) == names
    assert {id(p) for p in ours.parameters()} == {
        id(p) for n in plain for p in linears[n].parameters()
    }


def test_a_module_list_refuses_and_is_as_it_was():
    layers = nn.ModuleList([nn.Linear(1, 1), nn.Tanh()])
    before = list(layers)
    for change in (
        lambda: layers.append(mg.tanh),
        lambda: layers.extend([nn.Tanh(), None]),
        lambda: layers.insert(0, [nn.Tanh()]),
        lambda: layers.__setitem__(0, mg.tanh),
        lambda: layers.__setitem__(slice(0, 1), [nn.Tanh(), 3]),
    ):
        with pytest.raises(TypeError, match="ModuleList: expected modules, got"):
            change()
        assert list(layers) == before
    for change in (lambda: layers.__setitem__(2, nn.Tanh()), lambda: layers.__delitem__(-3)):
        with pytest.raises(IndexError):
            change()
        assert list(layers) == before


def test_a_child_deleted_by_name_or_set_out_of_turn_is_not_overwritten():
    layers = nn.ModuleList([nn.Linear(1, n) for n in (1, 2, 3)])
    del layers[0]
    delattr(layers, "0")  # which leaves a gap
    layers.append(nn.Linear(1, 4))
    assert [m.weight.shape[0] for m in layers] == [3, 4]
    setattr(layers, "3", nn.Linear(1, 5))
    layers.append(nn.Linear(1, 6))
    assert [m.weight.shape[0] for m in layers] == [3, 4, 5, 6]
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2", "3"]


def test_other_modules_of_a_module_list_are_no_items():
    class Scaled(nn.Sequential):
        def __init__(self, *modules):
            self.first = nn.Linear(1, 1)
            super().__init__(*modules)

    model = Scaled(nn.Tanh())
    model.append(nn.Linear(1, 1))
    assert len(model) == len(list(model)) == 2
    assert list(model.state_dict()) == ["first.weight", "first.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("make", [nn.Sequential, lambda *items: nn.ModuleList(items)])
def test_a_list_of_modules_refuses_what_it_would_leave_out(make):
    with pytest.raises(TypeError, match="expected modules, got <function tanh"):
        make(nn.Linear(2, 2), mg.tanh, nn.Linear(2, 2))


def test_batch_norm_that_fails_changes_nothing():
    layer = nn.BatchNorm1d(3)
    before = layer.state_dict()
    for shape in ((1, 3), (4, 2)):
        with pytest.raises(ValueError):
            layer(mg.tensor(np.ones(shape, np.float32)))
    assert all(np.array_equal(before[k], v) for k, v in layer.state_dict().items())


def test_lstm_refuses_states_and_biases_that_do_not_fit():
    layer, x = nn.LSTM(3, 4, 2), mg.tensor(np.ones((5, 2, 3), np.float32))
    for count in (1, 3):
        state = mg.tensor(np.zeros((count, 2, 4), np.float32))
        with pytest.raises(ValueError, match="L = 2 layers"):
            layer(x, (state, state))
    layer.bias_ih_l0 = nn.Parameter(mg.tensor(np.zeros(1, np.float32)))
    with pytest.raises(ValueError, match=r"expected biases \(16,\)"):
        layer(x)
    with pytest.raises(ValueError, match=r"expected x \(B, D\)"):
        nn.LSTMCell(3, 4)(mg.tensor(np.ones(3, np.float32)))


def ones(*shape):
    return mg.tensor(np.ones(shape, np.float32))


LSTM, CELL, ATTENTION = nn.LSTM(3, 4, 2), nn.LSTMCell(3, 4), nn.MultiHeadAttention(4, 2)
MISTAKES = {  # a call, and what its error says: the op or module, the argument, expected, got
    "one tensor as state": (
        lambda: LSTM(ones(5, 2, 3), ones(2, 2, 4)),
        r"TypeError: LSTM: expected the state as a pair \(h, c\), got a tensor \(2, 2, 4\)",
    ),
    "one tensor as state of a cell": (
        lambda: CELL(ones(2, 3), ones(2, 2, 4)),
        r"TypeError: LSTMCell: expected the state as a pair \(h, c\), got a tensor \(2, 2, 4\)",
    ),
    "three states": (
        lambda: LSTM(ones(5, 2, 3), (ones(2, 2, 4),) * 3),
        r"TypeError: LSTM: expected the state as a pair",
    ),
    "another batch in h": (
        lambda: LSTM(ones(5, 2, 3), (ones(2, 3, 4), ones(2, 3, 4))),
        r"ValueError: lstm: expected h \(2, 4\), got \(3, 4\)",
    ),
    "a batch of one, which would broadcast": (
        lambda: LSTM(ones(5, 2, 3), (ones(2, 1, 4), ones(2, 1, 4))),
        r"ValueError: lstm: expected h \(2, 4\), got \(1, 4\)",
    ),
    "another batch in c": (
        lambda: LSTM(ones(5, 2, 3), (ones(2, 2, 4), ones(2, 3, 4))),
        r"ValueError: lstm: expected c \(2, 4\), got \(3, 4\)",
    ),
    "another size of h": (
        lambda: CELL(ones(2, 3), (ones(2, 5), ones(2, 5))),
        r"ValueError: lstm_cell: expected h \(2, 4\), got \(2, 5\)",
    ),
    "another size of x": (
        lambda: CELL(ones(2, 5)),
        r"ValueError: lstm_cell: expected x \(2, 3\), got \(2, 5\)",
    ),
    "weights of another layer": (
        lambda: mg.lstm_cell(ones(2, 3), *[ones(2, 4)] * 2, ones(12, 3), ones(16, 4)),
        r"ValueError: lstm_cell: expected weight_ih \(16, 3\), got \(12, 3\)",
    ),
    "a key mask of another batch": (
        lambda: ATTENTION(ones(2, 3, 4), key_mask=np.ones((3, 3), bool)),
        r"ValueError: MultiHeadAttention: expected key_mask \(2, 3\) bool, got \(3, 3\) bool",
    ),
    "a key mask of other keys": (
        lambda: ATTENTION(ones(2, 3, 4), ones(2, 5, 4), key_mask=np.ones((2, 3), bool)),
        r"ValueError: MultiHeadAttention: expected key_mask \(2, 5\) bool, got \(2, 3\) bool",
    ),
    "a key mask of numbers": (
        lambda: ATTENTION(ones(2, 3, 4), key_mask=np.ones((2, 3))),
        r"TypeError: MultiHeadAttention: expected key_mask \(2, 3\) bool, got \(2, 3\) float64",
    ),
    "a list as key mask": (
        lambda: ATTENTION(ones(2, 3, 4), key_mask=[[True] * 3] * 2),
        r"TypeError: MultiHeadAttention: expected key_mask as a tensor or array, got list",
    ),
    "a list as mask": (
        lambda: ATTENTION(ones(2, 3, 4), mask=[[True] * 3] * 3),
        r"TypeError: MultiHeadAttention: expected mask as a tensor or array, got list",
    ),
    "a list as mask of the op": (
        lambda: mg.scaled_dot_product_attention(*[ones(3, 4)] * 3, [[True] * 3] * 3),
        r"TypeError: scaled_dot_product_attention: expected tensors or arrays, got list",
    ),
    "a mask of other queries": (
        lambda: ATTENTION(ones(2, 3, 4), mask=np.ones((4, 3), bool)),
        r"expected a mask that broadcasts to \(2, 2, 3, 3\), got \(4, 3\)",
    ),
    "a mask of another batch": (
        lambda: ATTENTION(ones(2, 3, 4), mask=np.ones((3, 3, 3), np.float32)),
        r"expected a mask that broadcasts to \(2, 2, 3, 3\), got \(3, 1, 3, 3\)",
    ),
    "a mask with more axes, which would add some to the result": (
        lambda: mg.scaled_dot_product_attention(*[ones(3, 4)] * 3, np.ones((1, 3, 3), bool)),
        r"attention: expected a mask that broadcasts to \(3, 3\), got \(1, 3, 3\)",
    ),
    "a mask and a key mask that differ in keys": (
        lambda: ATTENTION(
            ones(2, 3, 4), mask=np.ones((3, 4), bool), key_mask=np.ones((2, 3), bool)
        ),
        r"ValueError: .*\(3, 4\) bool, \w+ \(2, 1, 1, 3\) bool",
    ),
    "keys of another batch": (
        lambda: ATTENTION(ones(2, 3, 4), ones(3, 3, 4)),
        r"scaled_dot_product_attention: .* \[q \(2, 2, 3, 2\) float32, k \(3, 2, 3, 2\) float32",
    ),
    "a row that is not in the table": (
        lambda: nn.Embedding(5, 2, padding_idx=5),
        r"ValueError: Embedding: expected padding_idx in \[0, 4\], got 5",
    ),
    "a row from behind": (
        lambda: nn.Embedding(5, 2, padding_idx=-1),
        r"ValueError: Embedding: expected padding_idx in \[0, 4\], got -1",
    ),
    "such a row of the op, in the forward pass": (
        lambda: mg.embedding(ones(5, 2), np.array([0]), padding_idx=5),
        r"ValueError: embedding: expected padding_idx in \[0, 4\], got 5",
    ),
    "a row from behind of the op": (
        lambda: mg.embedding(ones(5, 2), np.array([0]), padding_idx=-1),
        r"ValueError: embedding: expected padding_idx in \[0, 4\], got -1",
    ),
    "no number of a row": (
        lambda: mg.embedding(ones(5, 2), np.array([0]), padding_idx=1.0),
        r"TypeError: embedding: 'float' object cannot be interpreted as an integer",
    ),
    "such a row for replicas": (
        lambda: mg.embedding(ones(2, 5, 2), np.zeros((2, 1), int), padding_idx=7),
        r"ValueError: embedding: expected padding_idx in \[0, 4\], got 7",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_error_names_the_argument_what_was_expected_and_what_came(mistake):
    call, words = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    said = f"{type(caught.value).__name__}: {caught.value}"
    assert re.search(words, said), said


def test_repr_lists_modules_parameters_and_counts():
    model = Tied()
    model.blocks[0].weight.requires_grad_(False)
    lines = [
        "Tied                    45  scale (1,)  offset (1,) buffer",
        "  embedding: Embedding  15  weight (5, 3)",
        "  blocks: ModuleList    24",
        "    0: Linear           12  weight (3, 3) frozen  bias (3,)",
        "    1: Linear           12  weight (3, 3)  bias (3,)",
        "  head: Linear           5  weight (5, 3) = embedding.weight  bias (5,)",
        "45 parameters",
    ]
    assert repr(model).splitlines() == lines
    assert "Dropout(p=0.1)" in repr(nn.Sequential(nn.Dropout(0.1)))
    assert repr(nn.ReLU()) == "ReLU\n0 parameters"


# --- init -----------------------------------------------------------------------------------------
def test_default_init_is_torchs(rng):
    """Bounds, means and deviations of 40,000 numbers, within 5 standard errors."""
    for ours, bound in ((nn.Linear(100, 400), 0.1), (nn.LSTM(100, 100), 0.1)):
        for _, p in ours.named_parameters():
            assert np.abs(p.data).max() <= bound
            assert np.abs(p.data).max() > 0.97 * bound
    embedding = nn.Embedding(400, 100).weight.data
    assert abs(embedding.mean()) < 5 / 200
    assert abs(embedding.std() - 1) < 5 / math.sqrt(2 * 40_000)
    attention = nn.MultiHeadAttention(100, 4)
    assert not attention.in_proj_bias.data.any()
    assert not attention.out_proj.bias.data.any()
    bound = math.sqrt(6 / 400)
    assert 0.99 * bound < np.abs(attention.in_proj_weight.data).max() <= bound * (1 + 2**-23)


INITS = {
    "xavier_uniform_": (nn.init.xavier_uniform_, torch.nn.init.xavier_uniform_),
    "xavier_normal_": (nn.init.xavier_normal_, torch.nn.init.xavier_normal_),
    "kaiming_uniform_": (nn.init.kaiming_uniform_, torch.nn.init.kaiming_uniform_),
    "kaiming_normal_": (nn.init.kaiming_normal_, torch.nn.init.kaiming_normal_),
    "kaiming_leaky": (
        lambda t: nn.init.kaiming_normal_(t, a=0.5, mode="fan_out"),
        lambda t: torch.nn.init.kaiming_normal_(t, a=0.5, mode="fan_out"),
    ),
    "trunc_normal_": (
        lambda t: nn.init.trunc_normal_(t, 0.5, 1.0, -1.0, 1.0),
        lambda t: torch.nn.init.trunc_normal_(t, 0.5, 1.0, -1.0, 1.0),
    ),
    "uniform_": (
        lambda t: nn.init.uniform_(t, -1, 3),
        lambda t: torch.nn.init.uniform_(t, -1, 3),
    ),
    "normal_": (
        lambda t: nn.init.normal_(t, 1.0, 2.0),
        lambda t: torch.nn.init.normal_(t, 1.0, 2.0),
    ),
}


@pytest.mark.parametrize("name", INITS)
def test_init_has_torchs_distribution(name):
    ours, theirs = INITS[name]
    a = ours(mg.tensor(np.zeros((100, 40, 5)))).data.ravel()
    torch.manual_seed(0)
    b = theirs(torch.zeros(100, 40, 5, dtype=torch.float64)).numpy().ravel()
    # Kolmogorov-Smirnov: two samples of n from one distribution differ by more than
    # 2.2 sqrt(2/n) with probability 2 exp(-2 * 2.2²) = 1e-4
    grid = np.sort(np.concatenate([a, b]))
    difference = np.searchsorted(np.sort(a), grid) - np.searchsorted(np.sort(b), grid)
    assert np.abs(difference).max() / a.size < 2.2 * math.sqrt(2 / a.size)


def test_orthogonal_has_orthonormal_rows_or_columns_and_constants_are_constant():
    for shape in ((5, 3), (3, 5), (3, 2, 4)):
        q = nn.init.orthogonal_(mg.tensor(np.zeros(shape)), gain=2.0).data.reshape(shape[0], -1)
        gram = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        # QR is accurate to a few dimensions × eps; gain² = 4 scales it
        np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=4 * 10 * 2**-52)
    t = mg.tensor(np.zeros((2, 3)))
    assert (nn.init.ones_(t).data == 1).all()
    assert (nn.init.constant_(t, 0.5).data == 0.5).all()
    assert (nn.init.zeros_(t).data == 0).all()
    with pytest.raises(ValueError, match="2 axes"):
        nn.init.xavier_uniform_(mg.tensor([1.0]))
    with pytest.raises(ValueError, match="fan_in"):
        nn.init.kaiming_normal_(t, mode="fan")
    for bad in ({"low": 2.0}, {"std": 0.0}, {"mean": np.nan}, {"high": np.nan}, {"mean": np.inf}):
        with pytest.raises(ValueError, match="trunc_normal_: expected low < high, std > 0"):
            nn.init.trunc_normal_(t, **bad)


def test_init_is_reproducible():
    mg.random.seed(1)
    a = Tied().state_dict()
    mg.random.seed(1)
    b = Tied().state_dict()
    mg.random.seed(2)
    c = Tied().state_dict()
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(a["embedding.weight"], c["embedding.weight"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(-1, 2),
        lambda: nn.LSTM(1, 0),
        lambda: nn.Embedding(0, 3),
        lambda: nn.LayerNorm(0),
    ],
)
def test_sizes_below_one_are_refused(make):
    with pytest.raises(ValueError, match="sizes of at least 1"):
        make()
