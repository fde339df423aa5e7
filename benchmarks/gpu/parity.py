"""Results on the GPU against the CPU: every op, every kernel, training, recorded steps, replicas.

The reference is the plain op on the CPU in float64, which the tests compare with PyTorch.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from benchmarks.gpu.rows import Row, at_most, left_out
from benchmarks.gpu.steps import MODELS, losses
from experiments.grokking.task import Grokking
from minigrad import Tensor, graph
from minigrad import device as devices
from minigrad.kernel import KERNELS, Kernel
from reference.attention import bounds, finfo, reference, to_float64
from reference.cases import ALL, Case

GPU = "cuda:0"
SHOWN = 20  # at most so many problems of one kind are shown
SEED = 1  # of cotangents with which no gradient cancels so far that only rounding is left


# --- one call -------------------------------------------------------------------------------------
Arrays = list[np.ndarray[Any, Any]]


def mapped(function: Callable[[Any], Any], a: Any) -> Any:
    """Nested lists, tuples and dicts with the function applied to every array."""
    if isinstance(a, (list, tuple)):
        return type(a)(mapped(function, item) for item in a)
    if isinstance(a, dict):
        return {k: mapped(function, v) for k, v in a.items()}
    return function(a) if isinstance(a, np.ndarray) else a


def leaves_of(args: Any) -> list[Tensor]:
    if isinstance(args, (list, tuple)):
        return [leaf for a in args for leaf in leaves_of(a)]
    return [args] if getattr(args, "requires_grad", False) else []


def cotangent(y: Any, rng: np.random.Generator) -> Any:
    """Random multiples of 1/8, the same in every dtype, on the host."""
    return np.asarray(np.round(8 * rng.standard_normal(y.shape)) / 8, y.dtype)


def results(
    call: Callable[..., Any], args: Sequence[Any], dtype: Any, device: str
) -> tuple[Arrays, Arrays]:
    """Values and, for random cotangents, gradients of a call, as NumPy arrays.

    Arrays become tensors, floating ones in `dtype`; those in tuples are indices and stay arrays.
    """

    def prepared(a: Any) -> Any:
        if isinstance(a, list):
            return [prepared(item) for item in a]
        if not isinstance(a, np.ndarray):
            return mapped(lambda index: devices.move(index, device), a)
        floating = a.dtype.kind == "f"
        moved = devices.move(a.astype(dtype) if floating else a, device)
        return Tensor(moved).requires_grad_(floating)

    args = prepared(list(args))
    ys = call(*args)
    ys = list(ys) if isinstance(ys, (tuple, list)) else [ys]
    rng = np.random.default_rng(SEED)
    cotangents = [devices.move(cotangent(y, rng), device) for y in ys]
    roots = [(y.node, c) for y, c in zip(ys, cotangents, strict=True) if y.node is not None]
    with mg.no_grad():
        table = graph.walk(roots)
    gradients = [table.get(leaf.node, np.zeros(leaf.shape)) for leaf in leaves_of(args)]
    return [devices.to_numpy(y.data) for y in ys], [devices.to_numpy(g) for g in gradients]


def ratio(ours: Any, exact: Any, terms: float, unit: float | None = None) -> float:
    """The largest error divided by its bound from rounding.

    Infinite if shapes, integers, NaN or infinities differ.

    terms: the number of roundings of an element, each of at most `unit` (by default eps of the
           dtype) times the largest magnitude.
    """
    if ours.shape != exact.shape:
        return np.inf
    if ours.dtype.kind not in "fV" and ours.dtype.name != "bfloat16":
        return 0.0 if np.array_equal(ours, exact) else np.inf
    unit = float(np.finfo(ours.dtype).eps) if unit is None else unit
    ours, exact = ours.astype(np.float64), exact.astype(np.float64)
    finite = np.isfinite(exact)
    if not np.array_equal(ours[~finite], exact[~finite], equal_nan=True):
        return np.inf
    limit = terms * unit * np.abs(exact[finite]).max(initial=0.0)
    error = np.abs(ours[finite] - exact[finite]).max(initial=0.0)
    return 0.0 if error == 0 else float(error / limit) if limit else np.inf


def worst_ratio(ours: Any, exact: Any, terms: float, unit: float | None = None) -> float:
    """The largest `ratio` of values and gradients; gradients have twice as many roundings."""
    worst = 0.0
    for arrays, references, n in zip(ours, exact, (terms, 2 * terms), strict=True):
        pairs = zip(arrays, references, strict=True)
        worst = max([worst, *(ratio(a, b, n, unit) for a, b in pairs)])
    return worst


class Tally:
    """The worst of many comparisons, and those that failed."""

    def __init__(self, what: str) -> None:
        self.what, self.count, self.worst, self.name = what, 0, 0.0, ""
        self.problems: list[str] = []

    def add(self, name: str, compare: Callable[[], float]) -> None:
        self.count += 1
        try:
            ratio = compare()
        except Exception as error:
            traceback.print_exc()
            line = " ".join(str(error).split())
            self.problems.append(f"{name}: {type(error).__name__}: {line:.200}")
            return
        if not ratio <= 1:
            self.problems.append(f"{name}: {ratio:.3g} of the bound")
        elif ratio >= self.worst:
            self.worst, self.name = ratio, name

    def rows(self) -> Iterator[Row]:
        good = self.count - len(self.problems)
        text = f"{good} of {self.count}, worst {self.worst:.2g} of the bound ({self.name})"
        yield Row(self.what, text, "all within the bound", not self.problems)
        for problem in self.problems[:SHOWN]:
            yield Row(self.what, problem, "", False)
        if len(self.problems) > SHOWN:
            yield Row(self.what, f"and {len(self.problems) - SHOWN} more")


# --- ops ------------------------------------------------------------------------------------------
def ops(dtype: str) -> Iterator[Row]:
    """Every case of every op, plain and with kernels."""
    for kernels in (False, True):
        tally = Tally(f"ops {'with kernels' if kernels else 'plain'}, {dtype}")
        with mg.use_kernels(kernels):
            for case in ALL:
                tally.add(case.id, partial(case_ratio, case, np.dtype(dtype)))
        yield from tally.rows()


def case_ratio(case: Case, dtype: Any) -> float:
    arrays = case.arrays(dtype)
    on_gpu = replace(case, kwargs=mapped(partial(devices.move, device=GPU), case.kwargs))
    mg.random.seed(0)
    ours = results(on_gpu.ours, arrays, dtype, GPU)
    mg.random.seed(0)
    return worst_ratio(ours, exactly(case.ours, arrays), case.terms)


def exactly(call: Callable[..., Any], arrays: Sequence[Any]) -> tuple[Arrays, Arrays]:
    """`results` of the plain op on the CPU in float64."""
    with mg.use_kernels(False):
        return results(call, arrays, np.float64, "cpu")


# --- kernels --------------------------------------------------------------------------------------
def normal(*shape: int, scale: float = 1.0) -> Any:
    """Normal numbers, always the same for a shape."""
    return scale * np.random.default_rng(shape).standard_normal(shape)


def ids(below: int, *shape: int) -> Any:
    return np.random.default_rng(shape).integers(0, below, shape)


def lstm(x: Any, *weights: Any) -> Any:
    return mg.lstm(x, None, None, weights)


class KernelCall(NamedTuple):
    """A call that a kernel must run, with sizes of several tiles.

    terms:  the number of roundings of a float32 element: the terms of its longest sum, and a few.
    halves: whether the kernel also takes 16 bits; sums are then in float32, and elements are
            rounded at most twice.
    """

    routine: str
    call: Callable[..., Any]
    arrays: Sequence[Any]
    terms: float
    halves: bool = False

    @property
    def name(self) -> str:
        return self.call.__name__ if self.routine == "product" else self.routine


LAYER = [normal(512, 128, scale=0.1), normal(512, 128, scale=0.1), normal(512), normal(512)]
STACK = [normal(2, 512, 128, scale=0.1), normal(2, 512, 128, scale=0.1), *[normal(2, 512)] * 2]
CALLS = [
    KernelCall("gelu", mg.gelu, [normal(97, 1031)], 12, True),
    KernelCall("gelu", partial(mg.gelu, approximate="tanh"), [normal(97, 1031)], 12, True),
    KernelCall("layer_norm", mg.layer_norm, [normal(33, 17), normal(17), normal(17)], 66, True),
    KernelCall("layer_norm", mg.layer_norm, [normal(480, 768), normal(768), normal(768)], 1264),
    KernelCall("cross_entropy", mg.cross_entropy, [normal(2880, 36), ids(36, 2880)], 100),
    KernelCall("cross_entropy", mg.cross_entropy, [normal(480, 40_479), ids(40_479, 480)], 1000),
    KernelCall("product", mg.linear, [normal(480, 6, 128), normal(384, 128), normal(384)], 2880),
    KernelCall("product", mg.matmul, [normal(8, 4, 60, 32), normal(8, 4, 32, 60)], 60),
    KernelCall("lstm", lstm, [normal(6, 480, 128), *LAYER, *LAYER], 32 + 12 * 264 + 6 * 480),
    KernelCall("stacked linear", mg.linear, [normal(3, 480, 64), normal(3, 96, 64)], 488),
    KernelCall("stacked embedding", mg.embedding, [normal(3, 36, 128), ids(36, 3, 480)], 488),
    KernelCall(
        "stacked layer_norm", mg.layer_norm, [normal(3, 33, 17), normal(3, 17), normal(3, 17)], 66
    ),
    KernelCall("stacked lstm", lstm, [normal(2, 6, 60, 128), *STACK], 32 + 6 * 264 + 6 * 60),
]


def kernels() -> Iterator[Row]:
    """Every kernel against the plain op; also checks that the kernel ran."""
    with mg.use_kernels():
        tally = Tally("fused kernels")
        for call in CALLS:
            for dtype in dtypes()[: None if call.halves else 1]:
                tally.add(f"{call.name} {dtype}", partial(kernel_ratio, call, dtype))
        yield from tally.rows()
        yield same_masks(513, 1031)


def dtypes() -> list[Any]:
    """The dtypes of the kernels; bfloat16 only if ml_dtypes is installed."""
    in_numpy = [np.dtype(np.float32), np.dtype(np.float16)]
    try:
        import ml_dtypes
    except ImportError:
        return in_numpy
    return [*in_numpy, np.dtype(ml_dtypes.bfloat16)]


def kernel_of(routine: str) -> Kernel:
    """The GPU kernel of a routine."""
    return next(k for k in KERNELS if k.device == "cuda" and k.routine.name == routine)


def kernel_ratio(call: KernelCall, dtype: Any) -> float:
    arrays = [a.astype(dtype).astype(np.float64) if a.dtype.kind == "f" else a for a in call.arrays]
    kernel = kernel_of(call.routine)
    before = kernel.used
    if dtype.kind == "f":
        ours = results(call.call, arrays, dtype, GPU)
    else:
        ours = results_of_body(call.call, kernel, arrays, dtype)
    if kernel.used == before:
        raise AssertionError("the kernel left the call to the plain op")
    exact = exactly(call.call, arrays)
    if dtype == np.float32:
        return worst_ratio(ours, exact, call.terms)
    return worst_ratio(ours, exact, 2, float(finfo(dtype).eps))


def results_of_body(
    call: Callable[..., Any], kernel: Kernel, arrays: Sequence[Any], dtype: Any
) -> tuple[Arrays, Arrays]:
    """`results` from direct calls of the kernel, since the engine has no bfloat16."""
    on_gpu = [devices.move(a.astype(dtype), GPU) for a in arrays]
    y, pull = kernel.routine.run(*on_gpu, **getattr(call, "keywords", {}))
    g = devices.move(cotangent(y, np.random.default_rng(SEED)), GPU)
    grads = pull(g)
    grads = grads if isinstance(grads, tuple) else (grads,)
    return [devices.to_numpy(y)], [devices.to_numpy(each) for each in grads]


def same_masks(*shape: int) -> Row:
    """Whether dropout has the same masks on the GPU and on the CPU."""
    masks: list[Any] = []
    for device in ("cpu", GPU):
        mg.random.seed(7)
        x = devices.move(np.ones(shape, np.float32), device)
        masks.append(devices.to_numpy(mg.dropout(Tensor(x), 0.3).data))
    equal = np.array_equal(*masks)
    text = f"{masks[0].size:,} numbers"
    return Row("masks of dropout", text, "those of the CPU, bit for bit", equal)


# --- attention ------------------------------------------------------------------------------------
# (batch, heads, queries, d), keys, options; "keys" is a random mask over keys
ATTENTION: list[tuple[tuple[int, int, int, int], int, dict[str, Any]]] = [
    ((64, 4, 6, 32), 6, {"causal": True}),
    ((2, 4, 64, 64), 64, {"causal": True}),
    ((2, 4, 65, 64), 65, {"causal": True}),
    ((2, 2, 700, 64), 700, {"causal": True}),
    ((2, 2, 300, 128), 300, {"causal": True}),
    ((2, 2, 150, 128), 260, {"causal": True, "alibi": True}),
    ((2, 3, 150, 80), 150, {"mask": True}),
    ((2, 2, 260, 16), 130, {"causal": True, "mask": True, "alibi": True}),
    ((2, 1, 100, 24), 90, {}),
]


def attention(*kinds: str) -> Iterator[Row]:
    """The kernels of attention against a bound of the rounding error of each element.

    kinds: names of dtypes, or "TF32".
    """
    by_name = {dtype.name: dtype for dtype in dtypes()}
    by_name["TF32"] = by_name["float32"]
    with mg.use_kernels():
        for kind in kinds:
            if kind not in by_name:
                yield left_out(f"attention, {kind}", "ml_dtypes is not installed")
                continue
            tally = Tally(f"attention, {kind}")
            for case in ATTENTION:
                compare = partial(attention_ratio, by_name[kind], kind == "TF32", *case)
                tally.add(str(case), compare)
            yield from tally.rows()


def attention_ratio(dtype: Any, tf32: bool, shape: Any, keys: int, options: Any) -> float:
    """The worst error over its bound.

    TF32 rounds to 10 bits of mantissa like float16. The inputs are float16 numbers, which TF32 does
    not change, so the bounds of float16 hold.
    """
    from kernels.cuda import attention as module

    rng = np.random.default_rng(0)
    batch, heads, T, d = shape
    draw = lambda n: rng.standard_normal((batch, n, heads, d)).astype(np.float16).astype(dtype)
    # (B, T, heads, d) in memory, as projections return them
    arrays = [devices.move(draw(n), GPU).swapaxes(1, 2) for n in (T, keys, keys, T)]
    settings = {k: v for k, v in options.items() if k != "mask"}
    mask = rng.random((batch, 1, 1, keys)) < 0.7 if "mask" in options else None
    mask_on_gpu = None if mask is None else devices.move(mask, GPU)
    before, module.TF32 = module.TF32, tf32
    try:
        result = module.scaled_dot_product_attention(*arrays[:3], mask_on_gpu, **settings)
        if not isinstance(result, tuple):
            raise AssertionError(f"left to the plain op: {result.reason}")
        y, pull = result
        ours = (y, *pull(arrays[3])[:3])
    finally:
        module.TF32 = before
    exact, parts = reference(*arrays, mask, **settings)
    limits = bounds(exact, np.dtype(np.float16) if tf32 else dtype, *parts)
    errors = [np.abs(to_float64(a) - b) for a, b in zip(ours, exact, strict=True)]
    with np.errstate(invalid="ignore"):
        ratios = [np.where(e == 0, 0.0, e / limit) for e, limit in zip(errors, limits, strict=True)]
    return max(float(r.max()) if np.isfinite(r).all() else np.inf for r in ratios)


def memory() -> Iterator[Row]:
    """Memory of attention, forward and backward, with T and 2 T: it must grow linearly."""
    cp, sizes = devices.cupy(), []
    for T in (4096, 8192):
        pool = cp.cuda.MemoryPool()
        with cp.cuda.using_allocator(pool.malloc), mg.use_kernels():
            x = devices.move(normal(1, 4, T, 64).astype(np.float16), GPU)
            q, k, v = (Tensor(x.copy()).requires_grad_() for _ in range(3))
            y = mg.scaled_dot_product_attention(q, k, v, causal=True)
            y.backward(Tensor(x))
            sizes.append(pool.total_bytes())
            del x, q, k, v, y
    ratio = sizes[1] / sizes[0]
    yield at_most("memory of attention at 8,192 over that at 4,096", ratio, 2.1, "×")


# --- training -------------------------------------------------------------------------------------
STEPS = 10


def train() -> Iterator[Row]:
    """The first losses of both models on the CPU, on the GPU, with kernels, and recorded.

    float32 differs by rounding, and training amplifies the difference. Allowed is ten times the
    change of the losses on the CPU when each weight changes by one unit in the last place, or ten
    times √d eps if that is more: the rounding error of a sum of d terms.
    """
    for model in MODELS:
        trials = [Grokking(model=model, seed=n, lr=1e-3 * (n + 1)) for n in range(3)]
        cpu, nudged = (
            np.concatenate([losses([t], "cpu", STEPS, nudge=nudge) for t in trials], axis=1)
            for nudge in (False, True)
        )
        allowed = 10 * max(
            furthest(nudged, cpu), trials[0].d ** 0.5 * float(np.finfo(np.float32).eps)
        )
        one = trials[:1]
        for name, kernels, recorded in (
            ("plain", False, False),
            ("kernels", True, False),
            ("recorded", True, True),
        ):
            with mg.use_kernels(kernels):
                off = furthest(losses(one, GPU, STEPS, recorded=recorded), cpu[:, :1])
            yield at_most(f"{model} {name}: losses off the CPU's, relative", off, allowed, "")
        with mg.use_kernels():
            off = furthest(losses(trials, GPU, STEPS, recorded=True), cpu)
        yield at_most(f"{model} 3 replicas: losses off the CPU's, relative", off, allowed, "")


def furthest(a: Any, b: Any) -> float:
    return float(np.abs(a / b - 1).max())
