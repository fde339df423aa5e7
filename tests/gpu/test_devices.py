"""Every op on arrays that are not NumPy's, and what is said where no GPU can be used."""

import builtins
import dataclasses
import re
import sys
import types
import warnings

import fake_gpu
import numpy as np
import pytest
from fake_gpu import GPU, FakeArray, FakeCupy, install
from op_checks import convert, cotangents, each, floating, is_float, leaves_of
from optimizers import OPTIMIZERS, Net

import minigrad as mg
from experiments.grokking.task import Grokking
from experiments.sweep import estimate
from experiments.train import loop, records
from experiments.train.replicas import run_replicas
from minigrad import device as devices
from minigrad import graph, indices, nn, optim
from minigrad.device import DeviceError
from minigrad.memory import memory_of
from minigrad.modes import KEEP_INPUTS, set_mode
from minigrad.tensor import Tensor
from reference.cases import ALL


@pytest.fixture
def gpu(monkeypatch):
    install(monkeypatch)


def prepared(case, wrap):
    """A case whose options are on the device, and its arguments as tensors there."""

    def wrapped(a):
        if isinstance(a, tuple):
            return tuple(map(wrapped, a))
        return wrap(a) if isinstance(a, np.ndarray) else a

    def leaf(a):
        return Tensor(wrap(a.copy())).requires_grad_(is_float(a))

    given = {k: wrapped(v) for k, v in case.kwargs.items()}
    return dataclasses.replace(case, kwargs=given), convert(case.arrays(), leaf, wrapped)


def weighted(ys, wrap, rng):
    """Roots of a walk: the nodes of tensors, and random cotangents on the device."""
    cs = cotangents(ys, rng, np.float64)
    return [(y.node, wrap(c)) for y, c in zip(ys, cs, strict=True) if y.node is not None]


def run(case, wrap):
    """Values and gradients of a case, as arrays."""
    case, args = prepared(case, wrap)
    ys = case.ours(*args)
    if case.order == 0:
        return [y.data for y in ys], []
    with mg.no_grad():
        found = graph.walk(weighted(floating(ys), wrap, np.random.default_rng(0)))
    gradients = [found[t.node] for t in leaves_of(args) if t.node in found]
    return [y.data for y in ys], gradients


def run_twice(case, wrap):
    """Gradients of a case as they are recorded, and the gradients of these, as arrays."""
    case, args = prepared(case, wrap)
    rng = np.random.default_rng(0)
    with set_mode(KEEP_INPUTS):
        roots = weighted(floating(case.ours(*args)), wrap, rng)
        first = graph.walk([(node, Tensor(c)) for node, c in roots], create_graph=True)
    gs = [first[t.node] for t in leaves_of(args) if t.node in first]
    with mg.no_grad():
        second = graph.walk(weighted(gs, wrap, rng))
    return [g.data for g in gs], [second[t.node] for t in leaves_of(args) if t.node in second]


@pytest.mark.usefixtures("gpu")
@each([case for case in ALL if case.name != "to_device"])
def test_no_op_passes_through_the_host(case):
    check(run, case)


@pytest.mark.usefixtures("gpu")
@each([case for case in ALL if case.order > 1 and case.name != "to_device"])
def test_no_second_derivative_passes_through_the_host(case):
    check(run_twice, case)


def check(how, case):
    """Equal to the last bit or nearly: the same NumPy computes both; 8 eps for another layout."""
    for theirs, ours in zip(how(case, lambda a: a), how(case, FakeArray), strict=True):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert isinstance(a, FakeArray)
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(a.values, b, rtol=1e-13, atol=1e-13)
    assert fake_gpu.INDEX_COPIES == []


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_training_steps_stay_on_the_device_and_equal_the_cpu(name):
    """Three steps in float32: losses equal to 1e-5, some 50 roundings of an eps of 1.2e-7."""

    def losses(device):
        step = loop.step_of(Grokking(model=name, p=7, d=16), device)
        found = [step(np.arange(step.task.size)) for _ in range(3)]
        assert {p.device for p in step.task.model.parameters()} == {device}
        return [loss.item() for loss in found]

    np.testing.assert_allclose(losses("cuda:0"), losses("cpu"), rtol=1e-5)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_clipping_and_files_are_those_of_the_cpu(name, tmp_path):
    """Four steps in float64, through a file after the second; 1e-13 as above."""

    def steps(device):
        kind, _, options = OPTIMIZERS[name]
        model = Net("float64").to(device)
        optimizer = kind(model.parameters(), **options)
        norms = []
        for step in range(4):
            rng = np.random.default_rng(step)
            for p in model.parameters():
                p.grad = mg.tensor(rng.standard_normal(p.shape), dtype=p.dtype, device=device)
            norms.append(optim.clip_grad_norm(model.parameters(), 30.0).item())
            optimizer.step()
            if step == 1:
                path = tmp_path / f"{device}.safetensors"
                mg.save_checkpoint(path, model=model, optimizer=optimizer, step=step)
                model = Net("float64").to(device)
                optimizer = kind(model.parameters(), **options)
                mg.load_checkpoint(path, model=model, optimizer=optimizer)
        assert {p.device for p in model.parameters()} == {devices.parse(device)}
        assert max(norms) > 30.0
        return [norms, *(p.detach().cpu().numpy() for p in model.parameters())]

    for ours, theirs in zip(steps("cuda"), steps("cpu"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


DRAWS = [
    nn.init.uniform_,
    nn.init.trunc_normal_,
    nn.init.xavier_uniform_,
    nn.init.kaiming_normal_,
    nn.init.orthogonal_,
    lambda t: mg.random.normal(t.shape, device=t.device),
    lambda t: mg.random.uniform(t.shape, device=t.device),
    lambda t: mg.dropout(mg.ones(t.shape, device=t.device), 0.5),
]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("draw", DRAWS)
def test_random_numbers_are_those_of_the_cpu(draw):
    found = []
    for device in ("cuda", "cpu"):
        mg.random.seed(3)
        found.append(draw(mg.zeros((4, 6), device=device)).cpu().tolist())
    assert found[0] == found[1]


@pytest.mark.usefixtures("gpu")
def test_devices_do_not_mix_and_the_error_names_both():
    here, there = mg.tensor([1.0, 2.0]), Tensor(FakeArray(np.ones(2, np.float32)))
    with pytest.raises((TypeError, ValueError), match=r"cpu and cuda:0; move one with \.to\(\)"):
        here + there


# --- several GPUs ---------------------------------------------------------------------------------
ELSEWHERE = re.escape(
    "an array is on cuda:1, and ops run on the current GPU, cuda:0; change it with "
    'mg.use_device("cuda:1")'
)


@pytest.mark.usefixtures("gpu")
def test_ops_run_on_the_gpu_that_is_made_current():
    with mg.use_device("cuda:1"):
        x = mg.tensor([1.0, 2.0], device="cuda:1", requires_grad=True)
        (x * x).sum().backward()
        assert x.device == x.grad.device == (x * x).device == "cuda:1"
        assert x.grad.cpu().tolist() == [2.0, 4.0]
    assert GPU.current == 0
    assert x.cpu().tolist() == [1.0, 2.0]
    assert x.to("cuda:0").device == "cuda:0"
    mg.use_device("cuda:1")
    assert GPU.current == 1
    with mg.use_device("cpu"):
        assert GPU.current == 1


@pytest.mark.usefixtures("gpu")
def test_an_op_on_another_gpu_than_the_current_one_says_so():
    x = mg.tensor([[1.0, 2.0]], device="cuda:1", requires_grad=True)
    with pytest.raises(ValueError, match=f"^exp: {ELSEWHERE}.*cuda:1"):
        mg.exp(x)
    with mg.use_device("cuda:1"):
        y = mg.exp(x).sum()
    with pytest.raises(RuntimeError, match=f"^backward: {ELSEWHERE}"):
        y.backward()
    assert x.grad is None


@pytest.mark.usefixtures("gpu")
def test_where_one_gpu_reads_the_memory_of_another_it_is_an_error_too(monkeypatch):
    """CuPy then computes on the current GPU and warns, at most."""
    x = mg.tensor([1.0], device="cuda:1")
    monkeypatch.setattr("fake_arrays.to_host", lambda a: [i.values for i in a] if a else {})
    with pytest.raises(RuntimeError, match=f"^exp: {ELSEWHERE}"):
        mg.exp(x)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_trial_runs_on_the_gpu_that_it_is_given(replicas, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "environment", lambda device: {"device": device})
    seen = []

    class Watcher(loop.Watcher):
        def step(self, step):
            seen.append(GPU.current)

    trials = [Grokking(p=3, d=8, layers=1, steps=2, seed=n) for n in range(replicas)]
    folders = [tmp_path / str(n) for n in range(replicas)]
    if replicas == 1:
        loop.run(trials[0], folders[0], device="cuda:1", watcher=Watcher())
    else:
        run_replicas(trials, folders, device="cuda:1", watcher=Watcher())
    assert seen == [1, 1]
    assert GPU.current == 0


@pytest.mark.usefixtures("gpu")
def test_a_trial_is_timed_on_the_gpu_that_it_will_run_on(tmp_path):
    job = [(Grokking(p=3, d=8, layers=1, steps=2), tmp_path)]
    (seconds,) = estimate.seconds_of([job], "cuda:1")
    assert seconds > 0
    assert GPU.current == 0
    assert not any(tmp_path.iterdir())


# --- memory ---------------------------------------------------------------------------------------
@pytest.mark.usefixtures("gpu")
def test_the_memory_of_each_gpu_is_told(monkeypatch):
    assert memory_of(0) == (3_000_000_000, 500_000_000, 70_000_000_000, 80_000_000_000)
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy())
    _, first, second, cpu = mg.debug.memory().split("\n")
    assert first.split() == ["cuda:0", "3.000", "0.500", "70.000", "80.000"]
    assert second.split() == ["cuda:1", "0.000", "0.000", "70.000", "80.000"]
    assert GPU.current == 0
    assert re.fullmatch(r"cpu +at most \d+\.\d{3} GB so far, not only in arrays", cpu)


def test_of_the_cpu_memory_tells_the_peak_of_the_process(monkeypatch):
    monkeypatch.setattr(devices, "cupy", lambda: pytest.fail("a GPU was asked"))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    before = mg.debug.peak()
    assert 2e7 < before < 1e12  # an interpreter with NumPy has some 30 MB
    held = np.ones(1 << 26)  # 512 MB
    assert mg.debug.peak() >= before
    assert mg.debug.peak() >= held.nbytes
    assert len(mg.debug.memory().split("\n")) == 2


class OutOfMemoryError(MemoryError):
    """As CuPy's, which derives from MemoryError too."""


def full_gpu(*args):
    raise OutOfMemoryError("Out of memory allocating 9,000 bytes (allocated so far: 70 bytes).")


POOL = re.escape(
    "Out of memory allocating 9,000 bytes (allocated so far: 70 bytes). cuda:0: arrays use 3.00 "
    "GB, CuPy's pool keeps 0.50 GB, 70.00 of 80.00 GB are free."
)


@pytest.mark.usefixtures("gpu")
def test_out_of_memory_names_the_op_the_sizes_and_the_pool(monkeypatch):
    x = Tensor(FakeArray(np.ones((2, 3), np.float32))).requires_grad_()
    y = mg.tanh(x).sum()
    monkeypatch.setattr("fake_arrays.called", full_gpu)
    with pytest.raises(MemoryError, match=rf"^exp: {POOL}  \[x \(2, 3\) float32 cuda:0\]$"):
        mg.exp(x)
    monkeypatch.setattr(mg.tanh.op, "body", None)
    with pytest.raises(MemoryError, match=rf"^sum, backward: {POOL}  \[\(\) float32\]$"):
        y.backward(Tensor(FakeArray(np.ones((), np.float32))))
    assert x.grad is None


def test_out_of_memory_on_the_cpu_says_nothing_of_a_gpu(monkeypatch):
    monkeypatch.setattr(mg.exp.op, "run", full_gpu)
    with pytest.raises(MemoryError, match=r"so far: 70 bytes\)\.  \[x \(1,\) float32\]$"):
        mg.exp(mg.tensor([1.0]))


# --- indices --------------------------------------------------------------------------------------
OUTSIDE = {
    "embedding": (lambda w, ids: mg.embedding(w, ids), "id 7 not in [0, 4]"),
    "an index": (lambda w, ids: w[ids], "index 7 not in [-5, 4]"),
    "take": (lambda w, ids: mg.take(w, ids, axis=0), "index 7 not in [-5, 4]"),
    "one_hot": (lambda w, ids: mg.one_hot(ids, 5), "id 7 not in [0, 4]"),
    "cross_entropy": (lambda w, ids: mg.cross_entropy(w[:2], ids), "target 7 not in [0, 1]"),
    "linear_cross_entropy": (
        lambda w, ids: mg.linear_cross_entropy(w[:2], w[:2], ids),
        "target 7 not in [0, 1]",
    ),
}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_out_of_range_is_told_when_a_number_is_read(name):
    """With the line of the call; once, and what comes later is as if nothing had been."""
    call, problem = OUTSIDE[name]
    w = Tensor(FakeArray(np.ones((5, 2), np.float32)))
    fine, bad = (Tensor(FakeArray(np.array(ids))) for ids in ([0, 1], [1, 7]))
    call(w, fine)
    assert w.sum().item() == 10.0
    call(w, bad)
    line = rf", at \S*test_devices\.py:{call.__code__.co_firstlineno}$"
    with pytest.raises(IndexError, match=f"^{re.escape(problem)}{line}"):
        w.sum().item()
    assert w.tolist() == [[1.0, 1.0]] * 5


@pytest.mark.usefixtures("gpu")
def test_a_place_for_checks_is_looked_at_before_it_is_used_again(monkeypatch):
    monkeypatch.setattr(indices.Checks, "size", 3)
    ids = [Tensor(FakeArray(np.array([n]))) for n in range(9)]
    for n in range(5):
        mg.one_hot(ids[n], 5)
    mg.one_hot(ids[5], 5)
    with pytest.raises(IndexError, match=r"^id 5 not in \[0, 4\]"):
        mg.one_hot(ids[0], 5)
    assert ids[3].item() == 3


@pytest.mark.usefixtures("gpu")
def test_checks_of_ignored_places_and_checks_switched_off():
    logits = Tensor(FakeArray(np.zeros((2, 3), np.float32)))
    target = Tensor(FakeArray(np.array([-100, 1])))
    np.testing.assert_allclose(mg.cross_entropy(logits, target).item(), np.log(3), rtol=1e-6)
    with mg.check_indices(False):
        mg.one_hot(Tensor(FakeArray(np.array([9]))), 5)
    assert logits.sum().item() == 0.0


@pytest.mark.usefixtures("gpu")
def test_the_host_indexes_an_array_of_a_gpu_by_lists_and_numbers_only():
    x = Tensor(FakeArray(np.arange(6.0).reshape(3, 2)))
    assert x[[2, 0]].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert x[-1, 0].item() == 4.0
    for index in ([0, 7], [-4]):
        with pytest.raises(IndexError, match=r"^getitem: index (7|-4) is out of range for an axis"):
            x[index]
        with pytest.raises(
            IndexError, match=r"^t\[\.\.\.\] = value: index (7|-4) is out of range for an axis of 3"
        ):
            x[index] = 0.0
    for index in (np.array([0, 1]), mg.tensor([0, 1]), np.array([True, False, True])):
        with pytest.raises(TypeError, match=r"^getitem: the arguments are on cpu and cuda:0; move"):
            x[index]
        with pytest.raises(TypeError, match=r"^take: the arguments are on cpu and cuda:0; move"):
            mg.take(x, index, axis=0)
        with pytest.raises(TypeError, match=r"^getitem: expected an index on cuda:0, got one on"):
            x[index, 0]


# --- what can be missing --------------------------------------------------------------------------
@pytest.fixture
def nothing_known():
    """What was found out about CuPy and GPUs is forgotten, before and after."""
    for known in (devices.cupy, devices.gpu_count):
        known.cache_clear()
    yield
    for known in (devices.cupy, devices.gpu_count):
        known.cache_clear()


@pytest.fixture
def driver(monkeypatch, nothing_known):
    """Lets a stand-in for CuPy find so many GPUs, or raise so, under a driver of some version."""

    def install_driver(count, version=13000, cupy_version="14.2.0"):
        def get_count():
            if isinstance(count, Exception):
                raise count
            return count

        runtime = types.SimpleNamespace(getDeviceCount=get_count, driverGetVersion=lambda: version)
        nvrtc = types.SimpleNamespace(getVersion=lambda: (12, 9))
        cuda = types.SimpleNamespace(runtime=runtime, nvrtc=nvrtc, cublas=None)
        cupy = types.SimpleNamespace(cuda=cuda, __version__=cupy_version)
        monkeypatch.setitem(sys.modules, "cupy", cupy)

    return install_driver


@pytest.mark.parametrize(
    ("count", "version", "said"),
    [
        (0, 13000, "device cuda:0 was asked for; this machine has 0 GPU(s)"),
        (1, 13000, None),
        (RuntimeError("cudaErrorNoDevice: no device"), 13000, "no usable GPU (cudaErrorNoDevice"),
        (RuntimeError("cudaErrorInsufficientDriver: old"), 0, "no driver of NVIDIA is loaded"),
        (
            RuntimeError("cudaErrorInsufficientDriver: old"),
            12080,
            "the driver is of CUDA 12, too old for this CuPy; install a newer driver, or "
            "minigrad[cuda12]",
        ),
    ],
)
def test_a_missing_or_old_driver_is_named(count, version, said, driver):
    driver(count, version)
    assert devices.available() == (said is None)
    if said is None:
        assert devices.parse("cuda") == "cuda:0"
        return
    with pytest.raises(DeviceError, match=re.escape(said)) as caught:
        devices.parse("cuda")
    assert "\n" not in str(caught.value)


def test_a_cupy_that_is_too_old_is_refused(driver):
    driver(1, cupy_version="13.6.0")
    with pytest.raises(DeviceError, match=r"^device cuda needs CuPy 14 or newer, this is 13\.6\.0"):
        devices.parse("cuda")


@pytest.fixture
def no_cupy(monkeypatch, nothing_known):
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy_the_error_says_what_to_install():
    with pytest.raises(DeviceError, match=r"needs CuPy, .*Install minigrad\[cuda12\] or minigrad"):
        devices.parse("cuda")


def installed(monkeypatch, *names):
    found = [types.SimpleNamespace(metadata={"Name": name}) for name in names]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: found)


TWO = (
    "cupy-cuda12x and cupy-cuda13x are installed over each other; uninstall all of them, then "
    "install the one that matches the driver"
)


@pytest.mark.usefixtures("no_cupy")
def test_two_packages_of_cupy_that_spoil_each_other(monkeypatch):
    installed(monkeypatch, "numpy", "cupy-cuda13x", "cupy-cuda12x", "cupyx-tools")
    with pytest.raises(DeviceError, match=re.escape(f"{TWO}") + "$"):
        devices.parse("cuda")


def test_two_packages_of_cupy_that_work_are_told_of_once(driver, monkeypatch, capsys):
    driver(1)
    installed(monkeypatch, "cupy-cuda13x", "cupy-cuda12x")
    genuine = builtins.__import__

    def warns(name, *rest):  # as CuPy itself does
        if name == "cupy":
            warnings.warn("\n----\n  CuPy may not work: multiple CuPy packages", stacklevel=2)
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", warns)
    for _ in range(2):
        assert devices.parse("cuda") == "cuda:0"
    assert capsys.readouterr().err == f"minigrad: {TWO}\n"


@pytest.mark.parametrize("names", [(), ("cupy",), ("cupy-cuda12x", "numpy")])
def test_one_package_of_cupy_is_as_it_should_be(names, driver, monkeypatch, capsys):
    driver(1)
    installed(monkeypatch, *names)
    assert devices.parse("cuda") == "cuda:0"
    assert capsys.readouterr().err == ""


def test_a_device_that_does_not_exist_is_one_clear_error():
    with pytest.raises(ValueError, match=r'"cpu", "cuda" or "cuda:N", got'):
        mg.tensor(1.0, device="gpu")
    if not mg.device.available():
        with pytest.raises(mg.device.DeviceError, match="cuda"):
            mg.tensor(1.0, device="cuda:7")
