"""Optimizers, clipping and schedules, against PyTorch's."""

import math
import re
import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch
from optimizers import OPTIMIZERS, Net

import minigrad as mg
from minigrad import nn, optim

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
STEPS = 20


def torch_copy(model):
    return {
        name: torch.nn.Parameter(torch.from_numpy(p.data.copy()))
        for name, p in model.named_parameters()
    }


def give_gradients(model, twin, step, scale=1.0):
    """The same gradients to both: none to `never`, and to `rare` every third step alone."""
    rng = np.random.default_rng(100 + step)
    for name, p in model.named_parameters():
        g = scale * rng.standard_normal(p.shape).astype(p.dtype)
        missing = name == "never" or (name == "rare" and step % 3)
        p.grad = None if missing else mg.Tensor(np.asarray(g, dtype=p.dtype))
        twin[name].grad = None if missing else torch.from_numpy(np.array(g, dtype=p.dtype))


def assert_same(model, twin, dtype, lr):
    """Weights equal up to rounding.

    A step rounds the weight once (eps/2 of its size, < 8 here) and an update of size a few lr a
    dozen times; gradients are given, so errors of different steps add and do not multiply. A
    decayed or averaged error shrinks.
    """
    bound = STEPS * EPS[dtype] * (8 / 2 + 12 * 8 * lr) * 2  # both libraries round
    for name, p in model.named_parameters():
        error = np.abs(p.data - twin[name].detach().numpy()).max(initial=0.0)
        assert error <= bound, f"{name}: {error:.3g} > {bound:.3g}"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_20_steps_equal_torch(name, dtype):
    ours, theirs, options = OPTIMIZERS[name]
    model = Net(dtype)
    twin = torch_copy(model)
    optimizer, reference = ours(model.parameters(), **options), theirs(twin.values(), **options)
    never = model.never.data.copy()
    for step in range(STEPS):
        give_gradients(model, twin, step)
        optimizer.step()
        reference.step()
    assert_same(model, twin, dtype, options["lr"])
    np.testing.assert_array_equal(model.never.data, never)


@pytest.mark.parametrize("name", ["sgd_momentum", "adam", "adamw"])
def test_groups_and_schedule_equal_torch(name):
    """Groups with their own options; the schedule moves all rates together."""
    ours, theirs, options = OPTIMIZERS[name]
    model = Net("float64")
    twin = torch_copy(model)
    large, rest = ["large", "rare"], ["small", "scalar", "empty", "never"]
    own = {"weight_decay": 0.7, "lr": options["lr"] / 4}
    params, tparams = dict(model.named_parameters()), twin
    optimizer = ours(
        [{"params": [params[n] for n in large]}, {"params": [params[n] for n in rest], **own}],
        **options,
    )
    reference = theirs(
        [{"params": [tparams[n] for n in large]}, {"params": [tparams[n] for n in rest], **own}],
        **options,
    )
    for step in range(STEPS):
        optimizer.lr = optim.cosine(step, options["lr"], STEPS, warmup=5)
        reference.param_groups[0]["lr"] = optimizer.lr
        reference.param_groups[1]["lr"] = optimizer.lr / 4
        give_gradients(model, twin, step)
        optimizer.step()
        reference.step()
    assert_same(model, twin, "float64", options["lr"])


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_the_options_have_pytorchs_defaults(name):
    """20 steps with none given; no other rate, decay or momentum would give these weights."""
    model = Net("float64")
    twin = torch_copy(model)
    optimizer = getattr(optim, name)(model.parameters())
    reference = getattr(torch.optim, name)(twin.values())
    assert optimizer.lr == reference.param_groups[0]["lr"] == 1e-3
    for step in range(STEPS):
        give_gradients(model, twin, step)
        optimizer.step()
        reference.step()
    assert_same(model, twin, "float64", 1e-3)


GROUP = {"betas": (0.7, 0.5), "amsgrad": True}
ADDED = {
    "sgd": ("SGD", {"lr": 0.1, "weight_decay": 0.1}, {"momentum": 0.9, "nesterov": True}),
    "sgd_momentum": ("SGD", {"lr": 0.01, "momentum": 0.9}, {"momentum": 0.0, "maximize": True}),
    "adam": ("Adam", {"lr": 0.01}, {**GROUP, "weight_decay": 0.3}),
    "adam_amsgrad": ("Adam", {"lr": 0.01, "amsgrad": True}, {"amsgrad": False, "maximize": True}),
    "adamw": ("AdamW", {"lr": 0.01}, {**GROUP, "lr": 0.002, "eps": 1e-3}),
}


@pytest.mark.parametrize("name", ADDED)
def test_a_group_added_between_steps_is_trained_as_pytorch_does(name):
    """The counts of its updates begin at 0, and its slots are those of its own options."""
    kind, options, group = ADDED[name]
    first, later = ["large", "small"], ["rare", "scalar", "never"]
    model = Net("float64")
    twin = torch_copy(model)
    params = dict(model.named_parameters())
    optimizer = getattr(optim, kind)([params[n] for n in first], **options)
    reference = getattr(torch.optim, kind)([twin[n] for n in first], **options)
    for step in range(STEPS):
        if step == 7:
            optimizer.add_param_group({"params": [params[n] for n in later], **group})
            reference.add_param_group({"params": [twin[n] for n in later], **group})
        if step == 14:
            state = optimizer.state_dict()
            optimizer = getattr(optim, kind)([params[n] for n in first], **options)
            with pytest.raises(ValueError, match="groups: expected 1 items, got 2"):
                optimizer.load_state_dict(state)
            optimizer.add_param_group({"params": [params[n] for n in later], **group})
            optimizer.load_state_dict(state)
        give_gradients(model, twin, step)
        optimizer.step()
        reference.step()
    assert_same(model, twin, "float64", 0.1 if name == "sgd" else 0.01)


def test_an_added_group_keeps_its_ratio_to_the_rate_of_then():
    first, later = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = optim.SGD([first], 0.5)
    optimizer.lr = 0.25
    optimizer.add_param_group({"params": [later], "lr": 0.125})
    optimizer.lr = 1.0
    first.grad, later.grad = mg.tensor([0.25]), mg.tensor([0.25])
    optimizer.step()
    assert (first.item(), later.item()) == (1.0 - 0.25, 1.0 - 0.5 * 0.25)


@pytest.mark.parametrize(
    ("group", "error", "words"),
    [
        ({"lr": 0.1}, TypeError, r"Adam: group 1: expected a dict with 'params', got \['lr'\]"),
        ([nn.Parameter([1.0])], TypeError, "expected a dict with 'params', got a list"),
        ({"params": nn.Parameter([1.0])}, TypeError, "expected a list of tensors, got a float32"),
        ({"params": [mg.tensor([1])]}, TypeError, "group 1: parameter 0 is a int64 tensor"),
        ({"params": [nn.Parameter([1.0]), None]}, TypeError, "parameter 1 is a NoneType"),
        ({"params": [nn.Parameter([1.0])], "momentum": 0.9}, TypeError, "option 'momentum'"),
        ({"params": [nn.Parameter([1.0])], "eps": -1.0}, ValueError, r"eps: .*\[0, inf\), got -1"),
        ({"params": [nn.Parameter([1.0])], "lr": -1.0}, ValueError, r"lr: .*\[0, inf\), got -1"),
        ({"params": [nn.Parameter([1.0])], "weight_decay": [0.1] * 2}, ValueError, "2 replicas"),
        ("the first", ValueError, "group 1: parameter 0 is in group 0 too"),
    ],
)
def test_a_group_that_cannot_be_added_changes_nothing(group, error, words):
    p = nn.Parameter([1.0])
    optimizer = optim.Adam([p])
    p.grad = mg.tensor([1.0])
    optimizer.step()
    before = optimizer.state_dict()
    with pytest.raises(error, match=words):
        optimizer.add_param_group({"params": [p]} if group == "the first" else group)
    np.testing.assert_equal(optimizer.state_dict(), before)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_amsgrad_divides_by_the_largest_v(amsgrad):
    """b1 = 0, b2 = 1/2: of g = 2, 1 v is 2 and 3/2, over 1 - 2^-t it is 4 and 2, or 4 and 8/3."""
    p = nn.Parameter(mg.tensor(np.zeros(1)))
    optimizer = optim.Adam([p], 1.0, betas=(0.0, 0.5), eps=0.0, amsgrad=amsgrad)
    for g in (2.0, 1.0):
        p.grad = mg.tensor(np.array([g]))
        optimizer.step()
    expected = -2.0 / 2.0 - 1.0 / math.sqrt(8 / 3 if amsgrad else 2.0)
    assert p.item() == pytest.approx(expected, rel=8 * 2**-52)  # 8 roundings


def test_adamw_is_the_update_that_its_docstring_writes():
    """The update in the order in which the docstring writes it."""
    start = np.linspace(-2.0, 2.0, 9)
    p = nn.Parameter(mg.tensor(start))
    x, m, v = start.copy(), 0.0, 0.0
    lr, b1, b2, eps, wd = 0.05, 0.8, 0.9, 1e-2, 0.5
    optimizer = optim.AdamW([p], lr, betas=(b1, b2), eps=eps, weight_decay=wd)
    for t in range(1, 11):
        g = np.cos(start * t)
        p.grad = mg.Tensor(g.copy())
        optimizer.step()
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        x = x - lr * ((m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * x)
        # a dozen roundings of numbers up to 2 in each step, in both computations
        np.testing.assert_allclose(p.data, x, rtol=0, atol=t * 2 * 12 * 2**-52)


def test_adam_and_adamw_differ_by_the_decay_only():
    for wd, equal in ((0.0, True), (0.1, False)):
        results = []
        for kind in (optim.Adam, optim.AdamW):
            p = nn.Parameter(mg.tensor([1.0, -2.0]))
            p.grad = mg.tensor([0.5, 0.25])
            kind([p], 0.1, weight_decay=wd).step()
            results.append(p.data.copy())
        assert np.array_equal(*results) == equal


def test_training_through_the_graph(rng):
    """Whole steps, gradients from backward(): a regression that both libraries solve alike."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).astype("float64")
    twin = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    twin = twin.double()
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in model.state_dict().items()})
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.5)
    reference = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.5)
    x = rng.standard_normal((32, 4))
    target = np.sin(x.sum(axis=1, keepdims=True))
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        difference = model(mg.tensor(x)) - mg.tensor(target)
        loss = (difference * difference).mean()
        loss.backward()
        norm = optim.clip_grad_norm(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())

        reference.zero_grad()
        tloss = ((twin(torch.tensor(x)) - torch.tensor(target)) ** 2).mean()
        tloss.backward()
        tnorm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        reference.step()
        # a gradient sums 32 rows of 20 roundings; it moves the weights by lr / (1 - momentum) =
        # 0.2 of itself, and errors grow by at most 1.1 a step where the curvature is below 1/2
        bound = STEPS * 32 * 20 * 0.2 * 1.1**STEPS * 2**-52
        assert abs(loss.item() - tloss.item()) <= bound
        assert abs(norm.item() - tnorm.item()) <= bound
    assert losses[-1] < 0.8 * losses[0]


def test_tied_weight_is_stepped_once():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    before = model[0].weight.data.copy()
    optimizer = optim.SGD([*model[0].parameters(), *model[1].parameters()], 0.5)
    assert len(optimizer.parameters()) == 1
    model[0].weight.grad = mg.Tensor(np.ones((3, 3), "float32"))
    optimizer.step()
    np.testing.assert_array_equal(model[0].weight.data, before - np.float32(0.5))


def test_frozen_parameters_are_skipped_without_slots():
    model = nn.Linear(3, 3)
    optimizer = optim.AdamW(model.parameters())
    model.weight.requires_grad_(False)
    before = model.weight.data.copy()
    model(mg.tensor(np.ones((2, 3), "float32"))).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(model.weight.data, before)
    assert list(optimizer.slots) == [model.bias]
    optimizer.zero_grad()
    assert model.bias.grad is None


def test_step_between_forward_and_backward_is_caught():
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)
    x = mg.tensor(np.ones((2, 3), "float32"), requires_grad=True)
    model(x).sum().backward()
    y = model(x)
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed"):
        y.sum().backward()
    model(x).sum().backward()


def test_step_leaves_gradients_alone_and_allocates_nothing():
    import tracemalloc

    p = nn.Parameter(mg.tensor(np.ones(200_000, "float32")))
    p.grad = mg.tensor(np.full(200_000, 0.5, "float32"))
    for kind in (optim.SGD, optim.Adam, optim.AdamW):
        optimizer = kind([p], 0.1, weight_decay=0.1)
        optimizer.step()
        tracemalloc.start()
        optimizer.step()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000  # views and numbers; one array would be 800,000
        np.testing.assert_array_equal(p.grad.data, np.float32(0.5))


def test_a_strided_gradient_is_taken_and_a_strided_parameter_refused():
    p = nn.Parameter(mg.tensor(np.zeros((2, 3))))
    p.grad = mg.Tensor(np.arange(6.0).reshape(3, 2).T)
    optim.SGD([p], 1.0).step()
    np.testing.assert_array_equal(p.data, -np.arange(6.0).reshape(3, 2).T)
    p.data = np.zeros((3, 2)).T
    with pytest.raises(ValueError, match="C order"):
        optim.SGD([p], 1.0).step()


def test_huge_gradients_do_not_warn():
    p = nn.Parameter(mg.tensor([1.0, 1.0, 1.0]))
    p.grad = mg.tensor([1e30, np.inf, np.nan])
    optim.AdamW([p], 0.1).step()
    assert np.isnan(p.data[2])
    p.grad = mg.tensor([1e30, 1.0, 1.0])
    assert optim.clip_grad_norm([p], 1.0).item() == np.inf  # 1e60 is beyond float32


def test_astype_after_steps_is_an_error():
    model = nn.Linear(2, 2)
    optimizer = optim.AdamW(model.parameters())
    for dtype in ("float32", "float64"):
        model.astype(dtype)
        model.zero_grad()
        model(mg.tensor(np.ones((1, 2), dtype))).sum().backward()
        if dtype == "float64":
            with pytest.raises(RuntimeError, match="move a model before"):
                optimizer.step()
        else:
            optimizer.step()


def test_optimizer_does_not_keep_gradients_alive():
    p = nn.Parameter(mg.tensor(np.ones(10)))
    optimizer = optim.AdamW([p])
    p.grad = mg.tensor(np.ones(10))
    grad = weakref.ref(p.grad.data)
    optimizer.step()
    optimizer.zero_grad()
    assert grad() is None


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: optim.SGD([], 0.1), ValueError, "no parameters"),
        (lambda p: optim.SGD(p, 0.1), TypeError, "model.parameters"),
        (lambda p: optim.SGD(nn.Linear(1, 1), 0.1), TypeError, "model.parameters"),
        (lambda p: optim.SGD([p * 2.0], 0.1), TypeError, "computed by an op"),
        (lambda p: optim.SGD([mg.tensor([1])], 0.1), TypeError, "int64"),
        (lambda p: optim.SGD([np.ones(3)], 0.1), TypeError, "ndarray"),
        (lambda p: optim.SGD([{"params": [p], "betas": 1}], 0.1), TypeError, "betas"),
        (
            lambda p: optim.SGD([{"params": [p]}, {"params": [p]}], 0.1),
            ValueError,
            "is in group 0 too",
        ),
        (lambda p: optim.SGD([p], -0.1), ValueError, "lr"),
        (lambda p: optim.SGD([p], math.nan), ValueError, "lr"),
        (lambda p: optim.SGD([{"params": [p], "lr": 1.0}], 0.0), ValueError, "ratio"),
        (lambda p: optim.SGD([p, {"params": [p]}]), TypeError, "group 0: expected a dict"),
        (lambda p: optim.SGD([{"params": [p]}, p]), TypeError, "group 1: expected a dict"),
        (lambda p: optim.SGD(nn.Linear(1, 1).named_parameters()), TypeError, "0 is a tuple"),
        (lambda p: optim.SGD([p], "0.1"), TypeError, "SGD: lr: expected numbers, got '0.1'"),
        (lambda p: optim.SGD([p], None), TypeError, "SGD: lr: expected numbers, got None"),
        (lambda p: optim.SGD([p], True), TypeError, "SGD: lr: expected numbers, got True"),
        (lambda p: optim.SGD([p], math.inf), ValueError, r"lr: expected numbers in \[0, inf\)"),
        (lambda p: optim.SGD([p], 0.1, nesterov=True), ValueError, "nesterov: .* momentum > 0"),
        (lambda p: optim.SGD([p], 0.1, nesterov=3), TypeError, "nesterov: .* got 3"),
        (lambda p: optim.SGD([p], 0.1, maximize=None), TypeError, "maximize: .* got None"),
        (lambda p: optim.SGD([p], 0.1, momentum=-1), ValueError, "group 0: momentum: .* got -1"),
        (lambda p: optim.SGD([p], 0.1, momentum=None), TypeError, "momentum: .* got None"),
        (lambda p: optim.SGD([p], 0.1, momentum=[0.9] * 2), ValueError, "momentum: expected 1 num"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), ValueError, r"betas: .*\[0, 1\), got \(0.9"),
        (lambda p: optim.Adam([p], betas=(-0.1, 0.9)), ValueError, r"betas: .*\[0, 1\), got"),
        (lambda p: optim.Adam([p], betas=(0.9, math.nan)), ValueError, r"betas: .*\[0, 1\), got"),
        (
            lambda p: optim.Adam([p], betas=(0.9,) * 3),
            ValueError,
            r"Adam: .* expected 2 .* got \(0",
        ),
        (lambda p: optim.Adam([p], betas=0.9), ValueError, "betas: expected 2 number.* got 0.9"),
        (lambda p: optim.Adam([p], betas="ab"), TypeError, "betas: expected numbers, got 'ab'"),
        (lambda p: optim.Adam([p], amsgrad=1), TypeError, "amsgrad: expected True or False, got 1"),
        (lambda p: optim.Adam([p], eps=-1e-8), ValueError, "eps"),
        (lambda p: optim.Adam([p], eps="x"), TypeError, "eps: expected numbers, got 'x'"),
        (lambda p: optim.AdamW([p], weight_decay=-1.0), ValueError, "weight_decay"),
        (lambda p: optim.AdamW([p], weight_decay=[[0.1]]), TypeError, "weight_decay: .* numbers"),
        (lambda p: optim.AdamW([{"params": [p], "eps": -1.0}]), ValueError, "eps"),
        (lambda p: optim.AdamW([{"params": [p], "lr": "x"}]), TypeError, "lr: .* got 'x'"),
    ],
)
def test_bad_arguments_are_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        make(nn.Parameter([1.0]))


# --- state ----------------------------------------------------------------------------------------
def stepped(kind, steps, **options):
    model = Net("float64")
    twin = torch_copy(model)
    groups = [
        {"params": [model.large, model.rare]},
        {"params": [model.small, model.never], "lr": 0.02, "weight_decay": 0.2},
    ]
    optimizer = kind(groups, 0.1, **options)
    for step in range(steps):
        give_gradients(model, twin, step)
        optimizer.step()
    return model, optimizer, twin


KINDS = {
    "sgd": (optim.SGD, {}),
    "momentum": (optim.SGD, {"momentum": 0.9}),
    "amsgrad": (optim.Adam, {"amsgrad": True}),
    "adam": (optim.Adam, {}),
    "adamw": (optim.AdamW, {"betas": (0.8, 0.9)}),
}


@pytest.mark.parametrize("name", KINDS)
def test_state_continues_bit_for_bit(name):
    kind, options = KINDS[name]
    unbroken, _, _ = stepped(kind, 7, **options)
    first, optimizer, _ = stepped(kind, 4, **options)
    state = optimizer.state_dict()
    optimizer.step()  # the state is a snapshot: this must not change it
    second, other, twin = stepped(kind, 2, **options)
    first, _, _ = stepped(kind, 4, **options)
    second.load_state_dict(first.state_dict())
    other.lr = 0.7
    other.load_state_dict(state)
    kept = {k: v.copy() for k, v in state["slots"].items()}
    assert other.lr == 0.1
    for step in range(4, 7):
        give_gradients(second, twin, step)
        other.step()
    for key, p in unbroken.named_parameters():
        np.testing.assert_array_equal(p.data, dict(second.named_parameters())[key].data)
    for key, value in kept.items():  # what was loaded was copied
        np.testing.assert_array_equal(state["slots"][key], value)


def test_load_reports_everything_and_changes_nothing():
    _, optimizer, _ = stepped(optim.AdamW, 3)
    before = optimizer.state_dict()
    state = optimizer.state_dict()
    state["slots"] = {k: v * 2 for k, v in state["slots"].items()}
    del state["slots"]["0.exp_avg"]
    state["slots"]["0.momentum"] = np.zeros(3)
    state["slots"]["1.exp_avg"] = np.zeros(4)
    state["slots"]["1.exp_avg_sq"] = np.zeros(5, "float32")
    state["lr"] = -1.0
    state["groups"][0]["betas"] = [0.9, 1.5]
    with pytest.raises(ValueError) as caught:
        optimizer.load_state_dict(state)
    text = " ".join(str(caught.value).split())
    for part in (
        "6 problem(s)",
        "missing: slots.0.exp_avg",
        "unexpected: slots.0.momentum",
        "shape: slots.1.exp_avg expected (5,), got (4,)",
        "dtype: slots.1.exp_avg_sq expected float64, got float32",
        "lr: expected numbers in [0, inf), got -1.0",
        "groups[0]: betas: expected numbers in [0, 1), got [0.9, 1.5]",
    ):
        assert part in text
    after = optimizer.state_dict()
    assert before["groups"] == after["groups"]
    assert before["lr"] == after["lr"]
    for key, value in before["slots"].items():
        np.testing.assert_array_equal(value, after["slots"][key])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("lr"), "missing: lr"),
        (lambda s: s.update(more=1), "unexpected: more"),
        (lambda s: s["groups"].pop(), "groups: expected 2 items, got 1"),
        (lambda s: s.update(groups=None), "groups: expected .* or its like, got None"),
        (lambda s: s["groups"][0].pop("eps"), r"missing: groups\[0\].eps"),
        (lambda s: s["groups"][0].update(params=["0"]), r"groups\[0\].params"),
        (lambda s: s["groups"][1].update(eps="x"), r"groups\[1\].eps"),
        (lambda s: s["groups"].__setitem__(0, 3), r"groups\[0\]: expected a dict"),
        (lambda s: s.update(stepped=["0", "99"]), "stepped"),
        (lambda s: s.update(stepped=[True]), "stepped"),
        (lambda s: s.update(slots=[]), "slots"),
        (
            lambda s: s["slots"].update({"0.step": np.array(1.0)}),
            "dtype: slots.0.step expected int64, got float64",
        ),
        (lambda s: s["slots"].update({"0.step": None}), "0.step"),
        (lambda s: s["slots"].update({"0.step": np.array(0)}), "0.step: expected >= 1"),
        (lambda s: s["stepped"].remove("1"), "unexpected: slots.1.exp_avg"),
    ],
)
def test_a_malformed_state_is_refused(change, words):
    _, optimizer, _ = stepped(optim.AdamW, 3)
    state = optimizer.state_dict()
    change(state)
    with pytest.raises(ValueError) as caught:
        optimizer.load_state_dict(state)
    assert re.search(words, " ".join(str(caught.value).split()))


def test_a_state_without_the_switches_that_came_later_is_read():
    """As files were before there was amsgrad: what is not named is off."""
    _, optimizer, _ = stepped(optim.Adam, 3)
    state = optimizer.state_dict()
    older = optimizer.state_dict()
    for group in older["groups"]:
        for name in ("amsgrad", "maximize"):
            assert group.pop(name) is False
    optimizer.step()
    optimizer.load_state_dict(older)
    np.testing.assert_equal(optimizer.state_dict(), state)
    del older["groups"][0]["eps"]
    with pytest.raises(ValueError, match=r"missing:    groups\[0\].eps"):
        optimizer.load_state_dict(older)


@pytest.mark.parametrize(("mine", "given"), [(False, True), (True, False)])
def test_options_and_their_slots_are_those_of_the_state(mine, given):
    _, optimizer, _ = stepped(optim.Adam, 2, amsgrad=mine)
    _, other, _ = stepped(optim.Adam, 3, amsgrad=given, betas=(0.5, 0.25))
    state = other.state_dict()
    assert any("max_exp_avg_sq" in name for name in state["slots"]) == given
    optimizer.load_state_dict(state)
    np.testing.assert_equal(optimizer.state_dict(), state)
    p, q = optimizer.parameters()[0], other.parameters()[0]
    p.data[...] = q.data
    p.grad = mg.Tensor(q.grad.data.copy())
    optimizer.step()
    other.step()
    np.testing.assert_array_equal(p.data, q.data)


@pytest.mark.parametrize("state", [[], None, {}, {"lr": 0.1}, {"lr": 0.1, "groups": [1]}])
def test_what_is_no_state_is_refused(state):
    _, optimizer, _ = stepped(optim.Adam, 2)
    with pytest.raises(ValueError, match=r"Adam: .* nothing was changed"):
        optimizer.load_state_dict(state)


# --- clipping -------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("max_norm", [0.5, 1e6, math.inf])
def test_clip_equals_torch(dtype, max_norm):
    model = Net(dtype)
    twin = torch_copy(model)
    give_gradients(model, twin, 0, scale=3.0)
    norm = optim.clip_grad_norm([*model.parameters(), model.tied], max_norm)
    tnorm = torch.nn.utils.clip_grad_norm_(twin.values(), max_norm)
    assert isinstance(norm, mg.Tensor)
    assert norm.shape == ()
    assert norm.dtype == dtype
    # 75,000 squares: rounding errors of a blocked sum grow with the square root of their number
    relative = math.sqrt(75_000) * EPS[dtype]
    assert abs(norm.item() - tnorm.item()) <= relative * tnorm.item()
    for name, p in model.named_parameters():
        if p.grad is not None:
            np.testing.assert_allclose(p.grad.data, twin[name].grad, rtol=2 * relative)
    if max_norm == 0.5:
        # what is left of the norm: the 1e-6 in the formula, and rounding
        left = optim.clip_grad_norm(model.parameters(), math.inf).item()
        assert abs(left - 0.5) <= 0.5 * (1e-6 / tnorm.item() + 2 * relative)


def test_clip_without_gradients_and_with_nan():
    p = nn.Parameter([1.0, 2.0])
    assert optim.clip_grad_norm([p], 1.0).item() == 0.0
    p.grad = mg.tensor([np.nan, 1.0])
    assert np.isnan(optim.clip_grad_norm(p, 1.0).item())
    assert np.isnan(p.grad.data).all()


# --- schedules ------------------------------------------------------------------------------------
def test_schedules_by_hand():
    assert optim.constant(99, 0.3) == 0.3
    assert [optim.constant(s, 1.0, warmup=4) for s in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [optim.linear(s, 1.0, 4) for s in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]
    assert [optim.linear(s, 1.0, 6, warmup=2, end=0.5) for s in (0, 1, 2, 4, 6, 9)] == [
        0.5,
        1.0,
        1.0,
        0.75,
        0.5,
        0.5,
    ]
    assert [optim.step_decay(s, 1.0, 3, factor=0.5) for s in range(7)] == [
        1,
        1,
        1,
        0.5,
        0.5,
        0.5,
        0.25,
    ]
    wave = [optim.cosine(s, 2.0, 10, end=1.0) for s in range(12)]
    assert wave[0] == 2.0
    assert wave[10] == wave[11] == 1.0
    assert wave[5] == pytest.approx(1.5, abs=2**-52)
    assert all(a > b for a, b in pairwise(wave[:11]))
    d, n = 64, 10  # Vaswani et al., eq. 3
    for number in range(1, 50):
        expected = d**-0.5 * min(number**-0.5, number * n**-1.5)
        ours = optim.inverse_sqrt(number - 1, 1 / math.sqrt(d * n), warmup=n)
        assert ours == pytest.approx(expected, rel=8 * 2**-52)


def test_cosine_is_torchs():
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], 0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=0.1)
    for step in range(20):
        # torch multiplies its rate step by step: 20 steps of a few roundings
        assert optim.cosine(step, 0.3, 20, end=0.1) == pytest.approx(
            schedule.get_last_lr()[0], rel=100 * 2**-52
        )
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    "call",
    [
        lambda: optim.cosine(0, 1.0, 5, warmup=5),
        lambda: optim.linear(-1, 1.0, 5),
        lambda: optim.step_decay(0, 1.0, 0),
        lambda: optim.inverse_sqrt(0, 1.0, warmup=0),
        lambda: optim.constant(0, 1.0, warmup=-1),
    ],
)
def test_schedules_refuse_nonsense(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_a_group_without_params_is_refused():
    with pytest.raises(
        TypeError, match=r"SGD: group 0: expected a dict with 'params', got \['lr'\]"
    ):
        optim.SGD([{"lr": 0.1}], lr=0.1)
