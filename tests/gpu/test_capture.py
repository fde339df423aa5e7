"""Steps recorded and replayed, on arrays that stand for a GPU's; see `fake_gpu`."""

import fake_gpu
import numpy as np
import pytest

import minigrad as mg
from minigrad import optim
from minigrad.capture import ADVICE, Board, live
from minigrad.kernel import say_once


@pytest.fixture
def gpu(monkeypatch):
    fake_gpu.install(monkeypatch)
    yield
    assert not fake_gpu.Stream.current.is_capturing()  # no recording was left open


def values(result):
    return [t.cpu().numpy() for t in (result if isinstance(result, tuple) else (result,))]


# --- what a replay computes -----------------------------------------------------------------------
def test_each_call_is_one_step_and_results_are_kept(gpu):
    total = mg.zeros((2,), device="cuda")
    entered = []

    @mg.capture
    def step(x):
        """Adds."""
        entered.append(None)
        with mg.no_grad():
            total.data[...] += x.data
        return total * 1.0, x.sum()

    assert (step.__name__, step.__doc__) == ("step", "Adds.")
    found = [step(mg.tensor([float(n), 1.0], device="cuda")) for n in range(6)]
    assert [values(y)[0].tolist() for y in found] == [
        [0, 1], [1, 2], [3, 3], [6, 4], [10, 5], [15, 6]
    ]  # fmt: skip
    assert [float(values(y)[1]) for y in found] == [1, 2, 3, 4, 5, 6]
    assert len(entered) == 3  # twice as it is, once recorded


def test_a_step_without_arguments(gpu):
    total = mg.zeros((), device="cuda")

    @mg.capture
    def step():
        total.data[...] += 1.0
        return total

    assert [step().item() for _ in range(5)] == [1, 2, 3, 4, 5]


def test_on_the_cpu_the_function_runs_as_it_is():
    entered = []

    @mg.capture
    def step(x):
        entered.append(None)
        return x * 2.0

    found = [step(mg.tensor([1.0] * n)).tolist() for n in range(5)]  # shapes may differ
    assert found == [[2.0] * n for n in range(5)]
    assert len(entered) == 5


def test_live_numbers_are_computed_once_a_step(gpu):
    count = iter(range(100))

    @mg.capture
    def step(x):
        a, b = live(lambda: (float(next(count)), 10.0), x.data)
        (c,) = live(lambda: (float(next(count)),), x.data)
        return mg.Tensor(x.data * 0 + a + b * c)

    x = mg.zeros((1,), device="cuda")
    assert [step(x).item() for _ in range(5)] == [10.0, 32.0, 54.0, 76.0, 98.0]


def test_live_numbers_beyond_the_size_of_a_board_get_another(gpu, monkeypatch):
    monkeypatch.setattr(Board, "size", 3)

    @mg.capture
    def step(x, y):
        found = [live(lambda: (1.0, 2.0), x.data) for _ in range(4)]
        wide = live(lambda: (3.0,), y.data)
        return mg.Tensor(x.data + sum(a + b for a, b in found)), mg.Tensor(y.data + wide[0])

    x, y = (mg.zeros((1,), dtype=d, device="cuda") for d in (np.float32, np.float64))
    for _ in range(4):
        a, b = step(x, y)
        assert (a.item(), b.item(), a.dtype, b.dtype) == (12.0, 3.0, np.float32, np.float64)


def test_many_parts_are_joined_in_a_recording(gpu):
    """CuPy copies a table of more than eight from the host."""
    parts = [mg.full((2,), n, device="cuda") for n in range(70)]

    @mg.capture
    def step():
        return mg.concatenate(parts), mg.stack(parts, axis=1)

    for _ in range(4):
        joined, piled = step()
    assert joined.tolist() == [float(n) for n in range(70) for _ in range(2)]
    assert piled.tolist() == [[float(n) for n in range(70)]] * 2


# --- what cannot be recorded ----------------------------------------------------------------------
@pytest.fixture
def reason(capsys):
    """What is said by the third call, which records and fails, and not again."""

    def reason_of(step, *args):
        say_once.cache_clear()
        for _ in range(2):
            step(*args)
        assert capsys.readouterr().err == ""
        step(*args)
        said = capsys.readouterr().err
        step(*args)
        assert capsys.readouterr().err == ""
        assert said.startswith("minigrad: capture: ")
        assert " is not recorded and runs launch by launch: " in said
        assert said.endswith(f". {ADVICE}\n")
        return said

    return reason_of


def test_reading_back_is_told_with_the_line_or_the_op_that_reads(gpu, reason):
    x = mg.ones((3,), device="cuda")

    @mg.capture
    def step(x):
        return x * float(x.sum())

    line = step.fn.__code__.co_firstlineno + 2
    said = reason(step, x)
    assert f"a copy from cuda:0 to cpu is not possible in a recording, at {__file__}:{line}" in (
        said.replace("tests/gpu/test_capture.py", __file__)
    )

    @mg.op
    def halved(x):
        return x * (0.5 if x.sum() > 0 else 1.0), lambda g: g

    said = reason(mg.capture(lambda x: halved(x)), x)
    assert "halved: " in said
    assert "x (3,) float32 cuda:0" in said


def test_a_gradient_that_reads_back_is_told_with_the_name_of_the_op(gpu, reason):
    @mg.op
    def doubled(x):
        return x * 2.0, lambda g: g * (2.0 if g.sum() > 0 else 0.0)

    x = mg.ones((3,), device="cuda").requires_grad_()

    @mg.capture
    def step():
        y = doubled(x).sum()
        y.backward()
        return y

    assert "doubled, backward: " in reason(step)


def test_what_the_host_makes_cannot_be_recorded(gpu, reason):
    x = mg.ones((3,), device="cuda")
    assert "a copy from cpu to cuda:0 is not possible" in reason(
        mg.capture(lambda x: x + mg.ones((3,)).to("cuda")), x
    )
    assert "takes numbers from the host" in reason(mg.capture(lambda x: mg.dropout(x, 0.5)), x)


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_optimizers_without_kernels_cannot_be_recorded(kind, gpu, reason):
    w = mg.ones((3,), device="cuda").requires_grad_()
    optimizer = kind([w], lr=0.1)

    @mg.capture
    def step():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        optimizer.step()
        return loss

    assert "step: takes numbers from the host" in reason(step)


def test_a_group_added_after_the_recording_is_trained(gpu, monkeypatch):
    """The step is recorded again; without that its replays would leave out the new parameters."""
    monkeypatch.setattr("minigrad.optim.optimizers.refuse_recording", lambda what: None)

    def run(capture):
        first, later = (mg.ones((3,), device="cuda").requires_grad_() for _ in range(2))
        optimizer = optim.SGD([first], lr=0.125)
        entered, weights = [], []

        @capture
        def step():
            entered.append(None)
            first.grad = later.grad = None
            loss = (first * first + later * later).sum()
            loss.backward()
            optimizer.step()
            return loss

        for call in range(10):
            if call == 5:
                optimizer.add_param_group({"params": [later], "lr": 0.25})
            step()
            weights.append((first.tolist(), later.tolist()))
        return weights, len(entered)

    recorded, plain = run(mg.capture), run(lambda step: step)
    assert recorded[0] == plain[0]
    assert recorded[0][-1] == ([0.75**10] * 3, [0.5**5] * 3)  # w - lr 2 w
    assert recorded[1] == 2 * 3  # each time twice as it is, and once to be recorded


def test_after_a_failed_recording_all_goes_on_as_if_none_had_been_tried(gpu, monkeypatch):
    """Weights, gradients, counts of the optimizer and random numbers of five calls."""
    monkeypatch.setattr("minigrad.optim.optimizers.refuse_recording", lambda what: None)

    def run(capture):
        mg.random.seed(0)
        w = mg.ones((3,), device="cuda").requires_grad_()
        optimizer = optim.AdamW([w], lr=0.1)
        grads = []

        def step():
            loss = (w * w * float(mg.random.generator("values").random())).sum()
            loss.backward()  # adds to the gradient that is there
            optimizer.step()
            return loss * loss.item()

        step = capture(step)
        for _ in range(5):
            loss = step()
            grads.append(w.grad.tolist())
        return loss.item(), w.tolist(), grads, mg.random.get_state(), optimizer.state_dict()

    recorded, plain = run(mg.capture), run(lambda step: step)
    for a, b in zip(recorded, plain, strict=True):
        np.testing.assert_equal(a, b)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            lambda: (mg.zeros((4,), device="cuda"),),
            r"argument 0: recorded with \(3,\) float32 cuda:0, ",
        ),
        (lambda: (mg.zeros((3,), dtype=np.float64, device="cuda"),), r"got \(3,\) float64 cuda:0"),
        (lambda: (mg.zeros((3,)),), r"got \(3,\) float32 cpu"),
        (lambda: (), "recorded with 1 arguments, got 0"),
    ],
)
def test_arguments_that_do_not_fit_the_recording_are_refused(gpu, args, said):
    step = mg.capture(lambda x: x * 1.0)
    for _ in range(3):
        step(mg.ones((3,), device="cuda"))
    with pytest.raises(mg.CaptureError, match=said):
        step(*args())
    assert step(mg.ones((3,), device="cuda")).tolist() == [1, 1, 1]


def test_only_tensors_are_arguments_and_results(gpu):
    with pytest.raises(TypeError, match="argument 1: expected a tensor, got 2"):
        mg.capture(lambda x, y: x)(mg.ones((3,)), 2)
    for result in (2, None, (), (mg.ones(()), 2)):
        with pytest.raises(TypeError, match="expected a function that returns tensors, got "):
            mg.capture(lambda result=result: result)()
    step = mg.capture(lambda x: mg.ones((2,), device="cuda"))
    for _ in range(2):
        step(mg.ones((2,)))
    with pytest.raises(mg.CaptureError, match="argument 0 is on the CPU"):
        step(mg.ones((2,)))
