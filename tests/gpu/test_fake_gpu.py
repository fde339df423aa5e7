"""The stand-ins for CuPy: what they refuse, and what becomes of the memory of recordings."""

import inspect

import fake_gpu
import numpy as np
import pytest
from cupy_signatures import MisfitError, cupy, find, signature, written
from fake_arrays import ATTRIBUTES, INDEX_COPIES, METHODS, FakeArray, HostArrayError
from fake_cuda import CaptureUnsupportedError, LentMemoryError, Pool, Runtime, Stream, soon
from fake_gpu import ElementwiseKernel, FakeCupy

needs_cupy = pytest.mark.skipif(
    cupy is None, reason="CuPy is not installed: calls are not held to its signatures"
)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    fake_gpu.install(monkeypatch)


def drawn(*shape):
    return FakeArray(np.arange(1.0, 1.0 + np.prod(shape, dtype=int)).reshape(shape))


def whole(*numbers):
    return FakeArray(np.array(numbers))


# --- between the host and the GPU -----------------------------------------------------------------
UNDISPATCHED = "array asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray require"


@pytest.mark.parametrize("name", UNDISPATCHED.split())
def test_functions_that_do_not_ask_their_arguments_refuse(name):
    function = getattr(np, name)
    assert not hasattr(function, "_implementation")  # with which NumPy's others dispatch
    for given in (drawn(2, 3), [drawn(2), drawn(2)]):
        with pytest.raises(HostArrayError):
            function(given)


@pytest.mark.parametrize(
    "call",
    [
        lambda a, host: a + host,
        lambda a, host: host + a,
        lambda a, host: np.add(a, a, out=host),
        lambda a, host: np.where(a > 0, a, host),
        lambda a, host: np.where(a > 0, a, host[0, 0:1]),
        lambda a, host: np.concatenate([a, host]),
        lambda a, host: a.__setitem__(0, host[0]),
        lambda a, host: np.add(a, [1.0, 2.0, 3.0]),
        lambda a, host: np.maximum(a, None),
    ],
)
def test_arrays_of_the_host_do_not_meet_those_of_the_gpu(call):
    with pytest.raises(TypeError):
        call(drawn(2, 3), np.ones((2, 3)))


def test_copies_to_the_gpu_and_back_share_no_memory():
    host = np.ones(3)
    there = FakeCupy.asarray(host)
    host[0] = 2.0
    back = FakeCupy.asnumpy(there)
    back[1] = 2.0
    assert there.tolist() == [1.0, 1.0, 1.0]
    for wrong in (host[:2], host.astype(np.float32), [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="set to an array"):
            there.set(wrong)


def test_only_arrays_without_axes_are_numbers_and_none_is_an_index():
    assert float(drawn()) == 1.0
    for call in (
        lambda: float(drawn(1)),
        lambda: int(whole(1)),
        lambda: range(whole(3)[0]),
        lambda: [1, 2][whole(0)[0]],
        lambda: np.where(True, drawn(1), 0.0),
    ):
        with pytest.raises(TypeError):
            call()
    assert isinstance(drawn(3).sum(), FakeArray)
    assert isinstance(drawn(3)[0], FakeArray)


def test_there_is_no_initial_and_no_where():
    for call in (
        lambda a: np.max(a, initial=0.0),
        lambda a: a.sum(initial=0.0),
        lambda a: np.add(a, a, where=a > 0),
        np.add.reduce,
    ):
        with pytest.raises(TypeError):
            call(drawn(3))


# --- indices --------------------------------------------------------------------------------------
def test_indices_wrap_around():
    rows = drawn(3, 2)
    for index in (whole(4, -1), (whole(4, -1), 0), (Ellipsis, whole(3)), (None, whole(7))):
        host = tuple(i.values if isinstance(i, FakeArray) else i for i in np.index_exp[index])
        last = isinstance(index, tuple) and index[0] is Ellipsis
        inside = tuple(i % (2 if last else 3) if isinstance(i, np.ndarray) else i for i in host)
        np.testing.assert_array_equal(rows[index].values, rows.values[inside])
    assert rows.take(whole(5), axis=0).tolist() == rows[2:].tolist()
    assert np.take_along_axis(rows, whole(3, 0)[:, None].T, axis=0).tolist() == [[1.0, 2.0]]
    rows[whole(3)] = 0.0
    assert rows[0].tolist() == [0.0, 0.0]
    with pytest.raises(IndexError):
        rows[3]


def test_an_index_of_the_host_is_copied_and_seen():
    rows = drawn(3, 2)
    for index in ([0, 4], np.array([0, 4]), (slice(None), np.array([0, 4]))):
        assert rows[index].shape[rows[index].ndim - 2 :]
    assert rows[np.array([0, 4])].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert INDEX_COPIES == [(2,)] * 7


# --- kernels --------------------------------------------------------------------------------------
def test_a_kernel_takes_the_arrays_and_numbers_that_it_declares():
    add = ElementwiseKernel(
        "raw T values, raw I rows, int64 length, int64 count, int64 width",
        "raw T out",
        "",
        "minigrad_scanned_sum",
    )
    values, rows, out = drawn(3, 2), whole(1, -1, 9), FakeArray(np.ones((2, 2)))
    add(values, rows, 3, 2, 2, out, size=4)
    assert out.tolist() == [[1.0, 1.0], [5.0, 7.0]]
    for wrong in (
        (values, rows.values, 3, 2, 2, out),
        (values, rows, 3, 2, whole(2)[0], out),
        (values.astype(np.float32), rows, 3, 2, 2, out),
    ):
        with pytest.raises(TypeError, match="expected"):
            add(*wrong, size=4)
    with pytest.raises(ValueError, match="argument"):
        add(values, rows, 3, 2, 2, size=4)


# --- memory ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["empty_like", "zeros_like", "ones_like"])
def test_arrays_like_others_refuse_the_shape_of_none(name):
    with pytest.raises(TypeError, match=r"shape=\(\)"):
        getattr(np, name)(drawn(2, 3), shape=())
    assert getattr(np, name)(drawn(2, 3), shape=(1,)).shape == (1,)


def test_what_is_computed_lies_in_c_order_and_copies_keep_theirs():
    turned = drawn(2, 3, 4).swapaxes(0, 1)
    assert not turned.flags.c_contiguous
    for call in (np.exp, lambda a: a * 2.0, lambda a: a.sum(axis=1, keepdims=True), np.sort):
        assert call(turned).flags.c_contiguous
    for call in (np.empty_like, lambda a: a.copy(order="K"), lambda a: a.astype(np.float32)):
        found, expected = call(turned), call(turned.values)
        assert found.strides == expected.strides


def test_views_know_whose_memory_they_have():
    a = drawn(2, 3)
    view = a[0][1:]
    assert view.base is a
    assert a.base is None
    assert (a * 1.0).base is None
    assert a.reshape(3, 2).base is a
    assert a.T.reshape(-1).base is None  # a copy


# --- recordings -----------------------------------------------------------------------------------
def record(step, *args):
    """The graph of a step, and what the step returned."""
    stream, pool = FakeCupy.cuda.Stream(non_blocking=True), FakeCupy.cuda.MemoryPool()
    with FakeCupy.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        try:
            result = step(*args)
        finally:
            graph = stream.end_capture()
    return graph, result


SIDE = drawn(2, 2)
ONE = FakeArray(np.ones(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: SIDE @ SIDE,
        lambda: np.dot(SIDE, ONE),
        lambda: np.matmul(SIDE, SIDE, out=FakeArray(np.empty((2, 2)))),
        lambda: np.tensordot(SIDE, SIDE, 0),
        lambda: np.einsum("ij,jk->ik", SIDE, SIDE),
        lambda: np.einsum("...d,...d->...", SIDE, SIDE),
        lambda: SIDE[SIDE > 1.0],
        lambda: SIDE.copy().__setitem__(SIDE > 1.0, 0.0),
        lambda: SIDE[[0, 1]],
        lambda: SIDE.take([0, 1], axis=0),
        lambda: SIDE.nonzero(),
        lambda: np.where(SIDE),
        lambda: np.unique(SIDE),
        lambda: np.stack([ONE] * 9),
        lambda: np.concatenate([ONE] * 9),
        lambda: FakeCupy.asarray(np.ones(2)),
        lambda: FakeCupy.asnumpy(ONE),
        lambda: ONE.set(np.ones(2)),
        lambda: bool(SIDE[0, 0]),
        lambda: float(SIDE[0, 0]),
        lambda: SIDE.tolist(),
        lambda: FakeCupy.cuda.get_current_stream().synchronize(),
        lambda: FakeCupy.cuda.Device().synchronize(),
    ],
)
def test_what_no_recording_takes(call):
    call()
    with pytest.raises(CaptureUnsupportedError):
        record(call)


def test_what_a_recording_takes():
    numbers, index = whole(1, 2), whole(1)
    graph, found = record(
        lambda: [
            ONE @ ONE,  # CuPy adds up vectors without cuBLAS
            numbers @ numbers,
            np.einsum("i,j->ij", ONE, ONE),
            np.stack([ONE] * 8),
            SIDE[index],
            np.where(SIDE > 1.0, SIDE, 0.0),
        ]
    )
    graph.launch()
    assert [a.tolist() for a in found] == [
        2.0, 5, [[1, 1], [1, 1]], [[1, 1]] * 8, [[3, 4]], [[0, 2], [3, 4]]
    ]  # fmt: skip


def test_the_default_stream_does_not_capture():
    with pytest.raises(CaptureUnsupportedError):
        FakeCupy.cuda.get_current_stream().begin_capture()


def test_a_replay_computes_anew_from_what_lies_outside():
    x = drawn(2)

    def step():
        y = x * 2.0
        y[0] = 7.0
        y += 1.0
        return y

    graph, y = record(step)
    assert np.isnan(y.values).all()  # nothing has been computed
    for start in (1.0, 5.0):
        x[...] = start
        graph.launch()
        assert y.tolist() == [8.0, 2.0 * start + 1.0]


def test_memory_of_a_recording_that_nothing_writes_to_is_spoiled():
    """What Python keeps of it, too, and what was made in it before."""
    graph, (empty, numbers, flags) = record(
        lambda: [FakeCupy().empty((2,), dtype) for dtype in (np.float32, np.int32, np.bool_)]
    )
    for _ in range(2):
        graph.launch()
        assert np.isnan(empty.values).all()
        assert (numbers.values < -(10**9)).all()
        assert flags.values.all()
        for array in (empty, numbers, flags):
            array.values[...] = 1


def test_memory_that_a_recording_let_go_of_is_spoiled_between_its_launches():
    """A launch that knows its address alone still reads it: what an array of addresses would do."""
    x, y = drawn(2), drawn(2)

    def step(kept):
        made = x * 2.0
        kept.append(made if keep else None)
        address = made.values
        del made
        soon(lambda: np.copyto(y.values, address))

    for keep in (True, False):
        kept = []
        graph, _ = record(step, kept)
        graph.launch()
        assert np.isnan(y.values).all() != keep


def test_a_recording_lends_memory_to_no_copy_from_the_host():
    """Neither at once over another stream, nor before each replay."""
    like, host = drawn(2), np.ones(2)
    aside = FakeCupy.cuda.Stream(non_blocking=True)

    def step():
        table = np.empty_like(like)
        table.set(host, stream=aside)

    with pytest.raises(LentMemoryError):
        record(step)
    graph, board = record(lambda: np.empty_like(like)[:1])
    with pytest.raises(LentMemoryError):
        board.set(host[:1])
    graph.launch()


def test_memory_of_another_pool_or_stream_lasts():
    like, host = drawn(2), np.ones(2)
    aside = FakeCupy.cuda.Stream(non_blocking=True)

    def step():
        with FakeCupy.cuda.using_allocator(FakeCupy.get_default_memory_pool().malloc):
            one = np.empty_like(like)
        with aside:
            two = np.empty_like(like)
            two.set(host)
        one.set(host, stream=aside)
        return one, two, one + two

    graph, (one, two, total) = record(step)
    one.set(2.0 * host)
    graph.launch()
    assert (one.tolist(), two.tolist(), total.tolist()) == ([2.0, 2.0], [1.0, 1.0], [3.0, 3.0])


# --- signatures -----------------------------------------------------------------------------------
@needs_cupy
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda a: np.unstack(a), r"cupy\.unstack: CuPy .* has none"),
        (lambda a: np.vecdot(a, a), r"cupy\.vecdot: CuPy .* has none"),
        (lambda a: np.take(a, whole(0), mode="wrap"), r"cupy\.take\(.*'mode'"),
        (lambda a: a.take(whole(0), mode="wrap"), r"cupy\.ndarray\.take\(.*'mode'"),
        (lambda a: a.sum(0, None, None, True, 0.0), r"cupy\.ndarray\.sum\(.*too many positional"),
        (lambda a: np.exp(a, subok=True), r"cupy\.exp\(.*'subok'"),
        (lambda a: np.exp(a, a, casting="no", order="C"), r"cupy\.exp\(.*'order'"),
        (lambda a: np.zeros_like(a, device="cpu"), r"cupy\.zeros_like\(.*'device'"),
        (lambda a: FakeCupy().zeros((2,), like=a), r"cupy\.zeros\(.*'like'"),
        (lambda a: FakeCupy().no_such_function(a), r"cupy\.no_such_function: CuPy .* has none"),
    ],
)
def test_calls_that_cupy_does_not_take(call, said):
    with pytest.raises(MisfitError, match=said):
        call(drawn(2, 3))


@needs_cupy
def test_calls_that_cupy_takes():
    a = drawn(2, 3)
    out = np.empty_like(a)
    assert np.add(a, 1.0, out=out, casting="same_kind", dtype=np.float64) is out
    assert a.sum(axis=0, keepdims=True).shape == (1, 3)
    assert a.reshape(3, 2).shape == a.reshape((3, 2), order="C").shape == (3, 2)
    assert a.astype(np.float32, copy=False).dtype == np.float32
    assert FakeCupy().arange(3).dtype == np.int64


def test_signatures_that_are_text():
    def parameters(text):
        return str(written(text, "f"))

    assert parameters("f(x1, x2, /, out=None, \\*, casting='same_kind', dtype=None)\n\nText") == (
        "(x1, x2, /, out=Ellipsis, *, casting=Ellipsis, dtype=Ellipsis)"
    )
    assert parameters("_base.f(self, *shape, order='C', copy=None)") == (
        "(self, *shape, order=Ellipsis, copy=Ellipsis)"
    )
    assert parameters("f(_base a, int axis=-1, out=(None, None), **how) -> _base") == (
        "(a, axis=Ellipsis, out=Ellipsis, **how)"
    )
    assert parameters("f()") == "()"
    for unreadable in ("", "Text.", "f(x[, out1, out2], / [, out=(None, None)])"):
        with pytest.raises(MisfitError, match="cannot be read"):
            written(unreadable, "f")


@needs_cupy
def test_the_stand_ins_offer_nothing_that_cupy_lacks():
    """No name, no parameter, no method; so what is called on them, CuPy has."""
    offered = {f"cuda.{name}": thing for name, thing in vars(FakeCupy.cuda).items()}
    for name in ("begin_capture", "end_capture", "is_capturing", "synchronize"):
        offered[f"cuda.Stream.{name}"] = getattr(Stream, name)
    for name in ("malloc", "used_bytes", "free_bytes"):
        offered[f"cuda.MemoryPool.{name}"] = getattr(Pool, name)
    for name in ("getDevice", "setDevice", "memGetInfo"):
        offered[f"cuda.runtime.{name}"] = getattr(Runtime, name)
    for name in ("get", "item", "set", "tolist"):
        offered[f"ndarray.{name}"] = getattr(FakeArray, name)
    for name in ("ElementwiseKernel", "asarray", "asnumpy", "get_default_memory_pool"):
        offered[name] = getattr(FakeCupy, name)
    for path, thing in offered.items():
        theirs = find(path)
        if path != "cuda.runtime":
            ours = [*inspect.signature(thing).parameters]
            assert ours == [*signature(path).parameters][: len(ours)], path
        assert theirs is not None
    for name in (*METHODS.split(), *ATTRIBUTES.split()):
        assert find(f"ndarray.{name}") is not None
    assert {name for name in vars(FakeArray) if not name.startswith("_")} <= {
        *ATTRIBUTES.split(), "get", "item", "number", "set", "tolist"
    }  # fmt: skip
