"""The registry of kernels and their switch: what is loaded, chosen and said, and when."""

import inspect
import re

import numpy as np
import pytest
from kernel_checks import counts, python

import minigrad as mg
from minigrad import debug
from minigrad import device as devices
from minigrad.kernel import KERNELS, Declined, Unusable, enabled, kernel


def test_nothing_is_loaded_until_kernels_are_switched_on():
    said = python(
        "import sys, minigrad as mg\n"
        "from experiments.grokking import paths\n"  # an op with a kernel beside it
        "mg.use_kernels(False)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('kernels', 'numba')])\n"
        "print(mg.debug.kernels())\n"
        "mg.use_kernels()\n"
        "print([k.device for k in paths.path_attention.op.kernels])\n"
    )
    assert said == "[]\nno kernels are loaded; mg.use_kernels() loads them\n['cpu']\n"


def test_a_module_of_kernels_is_loaded_at_once_where_kernels_are_on():
    said = python(
        "import minigrad as mg\n"
        "mg.use_kernels()\n"
        "from experiments.grokking import paths\n"
        "print([k.device for k in paths.path_attention.op.kernels])\n"
    )
    assert said == "['cpu']\n"


@pytest.mark.parametrize("missing", ["numba", "threadpoolctl"])
def test_what_is_missing_is_told_and_ops_run_as_before(missing):
    said = python(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import minigrad as mg\n"
        "from experiments.grokking import paths\n"  # has kernels beside it
        "for _ in range(2):\n"
        "    try:\n"
        "        mg.use_kernels()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
        "    print(mg.gelu(mg.tensor([0.0, 100.0])).tolist())\n"
        "    mg.use_kernels(False)\n"
    )
    error, values, *again = said.splitlines()
    assert error.startswith("the CPU kernels cannot be used: ")
    assert missing in error
    assert error.endswith("Install minigrad[fast]")
    assert values == "[0.0, 100.0]"
    assert again == [error, values]


def test_kernels_have_the_arguments_of_the_plain_function():
    def arguments(f):
        return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]

    for k in KERNELS:
        assert arguments(k.body) == arguments(k.routine.body), k.routine.name


def test_the_switch_turns_all_kernels_and_twice_is_once():
    for on in (True, True, False, False, True):
        mg.use_kernels(on)
        assert enabled() is on
        for k in KERNELS:
            assert k.routine.run == (k.routine.choose if on else k.routine.body)
            state = "on" if on else "off"
            assert re.search(rf"^{k.routine.name} +cpu +{state} ", debug.kernels(), re.M)


def test_the_switch_goes_back_after_a_block():
    def fail():
        with mg.use_kernels(False):
            assert not enabled()
            raise KeyError

    with mg.use_kernels():
        with mg.use_kernels():
            pass
        with pytest.raises(KeyError):
            fail()
        assert enabled()
    assert not enabled()


@pytest.fixture
def half():
    """A new op, and a kernel for it that takes arrays of more than two elements."""

    @mg.op
    def half(x):
        return x * 0.5, lambda g: g * 0.5

    @kernel(half, device="cpu")
    def half_kernel(x):
        if x.size <= 2:
            return Declined("too few")
        return np.full_like(x, 9.0), lambda g: g * 3.0

    yield half
    KERNELS[:] = [k for k in KERNELS if k.routine is not half.op]


def test_an_op_of_the_user_can_have_a_kernel_of_the_user(half):
    x = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert half(x).tolist() == [0.5, 1.0, 1.5]
    with mg.use_kernels():
        y = half(x)
        y.sum().backward()
        assert (y.tolist(), x.grad.tolist()) == ([9.0] * 3, [3.0] * 3)
        assert half(x[:2]).tolist() == [0.5, 1.0]
        assert half(x[:1]).tolist() == [0.5]
        assert re.search(r"^half +cpu +on +1 +2 x too few$", debug.kernels(), re.M)
    assert half(x).tolist() == [0.5, 1.0, 1.5]
    assert counts("half") == (1, {"too few": 2})


def test_a_kernel_made_while_kernels_are_on_is_on():
    @mg.op
    def third(x):
        return x / 3, lambda g: g / 3

    x = mg.tensor([3.0])
    try:
        with mg.use_kernels():
            kernel(third, device="cpu")(lambda x: (np.full_like(x, 9.0), lambda g: g))
            assert third(x).tolist() == [9.0]
        assert third(x).tolist() == [1.0]
    finally:
        KERNELS[:] = [k for k in KERNELS if k.routine is not third.op]


def test_the_first_kernel_that_does_not_decline_is_taken(half):
    @kernel(half, device="cpu")
    def second(x):
        return np.full_like(x, 8.0), lambda g: g

    with mg.use_kernels():
        assert half(mg.tensor([1.0, 2.0, 3.0])).tolist() == [9.0] * 3
        assert half(mg.tensor([1.0, 2.0])).tolist() == [8.0] * 2


def test_where_a_kernel_is_unusable_the_plain_op_serves_and_one_line_says_so(half, capsys):
    @kernel(half, device="cpu")
    def broken(x):
        raise Unusable("no machine code for this GPU")

    with mg.use_kernels():
        for n in (1, 2):
            x = mg.tensor([2.0] * n, requires_grad=True)
            half(x).sum().backward()
            assert (half(x).tolist(), x.grad.tolist()) == ([1.0] * n, [0.5] * n)
        assert re.search(r"^half +cpu +on +0 +4 x unusable$", debug.kernels(), re.M)
    said = "minigrad: half runs without its kernel: no machine code for this GPU\n"
    assert capsys.readouterr().err == said


def test_a_kernel_that_is_unusable_on_the_way_back_says_how_to_go_without_it(half):
    @kernel(half, device="cpu")
    def broken(x):
        def pullback(g):
            raise Unusable("no machine code for this GPU")

        return x, pullback

    with mg.use_kernels():
        y = half(mg.tensor([2.0], requires_grad=True))
        with pytest.raises(
            RuntimeError, match=r"^half, backward: no machine code.*_kernels\(False"
        ):
            y.backward()


@pytest.mark.parametrize(
    "problem", ["No module named 'triton'", "Triton 3.4.0 is too old: install triton>=3.6"]
)
def test_where_triton_cannot_be_used_the_plain_ops_serve_and_one_line_says_so(
    problem, monkeypatch, capsys
):
    import kernels

    genuine = kernels.import_module

    def import_module(name):
        if name == "kernels.cuda":
            raise ImportError(problem)
        return genuine(name)

    monkeypatch.setattr(kernels, "find_spec", lambda name: name)
    monkeypatch.setattr(devices, "available", lambda: True)
    monkeypatch.setattr(kernels, "import_module", import_module)
    kernels.load.cache_clear()
    for _ in range(2):
        with mg.use_kernels():
            assert mg.exp(mg.tensor([0.0])).tolist() == [1.0]
    kernels.load.cache_clear()
    said = f"minigrad: the GPU kernels cannot be used: {problem}. Install minigrad[triton]\n"
    assert capsys.readouterr().err == said
