"""The CPU kernels give what the plain ops give: values, gradients, second derivatives.

In all layouts, in any number of parts, for arrays without elements and those changed in place.
"""

import numpy as np
import pytest
from kernel_cases import ALL, DECLINED, EMPTY, EXTRA, FIRST, TAKEN
from kernel_checks import all_close, computed, counts, doubled, drawn, flat, outcome, ran, replicas
from op_checks import LAYOUTS, close, convert, each, floating, is_float, leaf, leaves_of

import minigrad as mg
from minigrad import graph
from minigrad.kernel import KERNELS, enabled


def test_every_kernel_is_tested():
    ours = [k for k in KERNELS if k.body.__module__.startswith(("kernels.", "experiments."))]
    assert {k.routine.name for k in ours} == {*EXTRA, "adam_update_all", "add_rows", "clip_arrays"}


@each(ALL)
def test_values_and_gradients_are_those_of_the_plain_op(case, rng):
    """Nothing is written to arguments and cotangents, and nothing declined but what is listed.

    They are writable here, so that a kernel gets them as they are; elsewhere they are read-only.
    """
    arrays, cs = drawn(case, rng)
    copies = [*flat(arrays), *cs]
    arrays, cs = convert(arrays, np.copy), [c.copy() for c in cs]
    used, declined = counts(case.name)
    fast = computed(case, arrays, cs, on=True)
    runs, reasons = counts(case.name)[0] - used, counts(case.name)[1] - declined
    if case.id in DECLINED:
        assert (runs, set(reasons)) == (0, {DECLINED[case.id]})
    else:
        assert (runs, set(reasons)) == (2 * replicas(case, arrays), set())
    assert all(map(np.array_equal, (*flat(arrays), *cs), copies))
    assert all(a.dtype == np.float32 for part in fast for a in part)
    plain = computed(case, arrays, cs)
    exact = computed(case, convert(arrays, doubled), [doubled(c) for c in cs])
    assert counts(case.name)[0] == used + runs  # what is plain is
    all_close(plain, exact, case.terms)
    all_close(fast, exact, case.terms)
    all_close(fast, plain, case.terms)


@pytest.mark.parametrize("parts", [2, 3, 50])
@each(TAKEN)
def test_work_in_several_parts_gives_the_same(case, parts, rng, monkeypatch):
    """50 parts are more than most cases have rows."""
    from kernels.cpu import compiled

    arrays, cs = drawn(case, rng)
    monkeypatch.setattr(compiled, "PARTS", 1)
    one = computed(case, arrays, cs, on=True)
    monkeypatch.setattr(compiled, "PARTS", parts)
    assert compiled.parts_for(1) == parts
    all_close(computed(case, arrays, cs, on=True), one, case.terms)


@pytest.mark.parametrize("layout", LAYOUTS)
@each(TAKEN)
def test_layout_in_memory_does_not_matter(case, layout, rng):
    """Of arguments and cotangents; "transposed" is Fortran order."""
    arrays, cs = drawn(case, rng)
    strided = convert(arrays, LAYOUTS[layout])
    copies = convert(strided, lambda a: a.copy(order="C"))
    with ran(case.name):
        found = computed(case, strided, [np.asarray(c.T, order="C").T for c in cs], on=True)
    all_close(found, computed(case, copies, cs, on=True), case.terms)
    assert all(map(np.array_equal, flat(strided), flat(copies)))


@each(TAKEN)
def test_without_a_gradient_the_values_are_the_same(case, rng):
    arrays, cs = drawn(case, rng)
    values, _ = computed(case, arrays, cs, on=True)
    with ran(case.name), mg.no_grad():
        ys = case.ours(*convert(arrays, leaf))
    assert all(y.node is None for y in ys)
    for y, value in zip(ys, values, strict=True):
        close(y.data, value, case.terms)


@each(TAKEN)
def test_a_graph_that_is_kept_gives_the_same_gradients_twice(case, rng):
    """To the last bit: the first walk wrote to nothing that the second one reads."""
    arrays, cs = drawn(case, rng)
    with ran(case.name):
        ys = floating(case.ours(*convert(arrays, leaf)))
        roots = [(y.node, c) for y, c in zip(ys, cs, strict=True)]
        first = {n: g.copy() for n, g in graph.walk(roots, retain_graph=True).items()}
        second = graph.walk(roots)
    assert first.keys() == second.keys()
    assert all(np.array_equal(g, second[n], equal_nan=True) for n, g in first.items())


@each([c for c in TAKEN if c.number < 100])
def test_second_derivatives_are_those_of_the_plain_op(case, rng):
    """The forward pass is the kernel's, what follows is not. Each derivative doubles the terms."""
    arrays, cs = drawn(case, rng)
    leaves = [a for a in flat(arrays) if is_float(a)]
    rs = [rng.standard_normal(a.shape).astype(np.float32) for a in leaves]
    every = tuple(range(len(leaves)))

    def weighted(ys, cs):
        return mg.stack([(y * c).sum() for y, c in zip(ys, cs, strict=True)]).sum()

    def f(*tensors):
        rest = iter(tensors)
        args = convert(arrays, lambda a: next(rest) if is_float(a) else mg.Tensor(a))
        return weighted(floating(case.ours(*args)), cs)

    def second():
        first = mg.grad(f, every)
        return mg.grad(lambda *t: weighted(first(*t), rs), every)(*map(mg.Tensor, leaves))

    plain = second()
    with ran(case.name):
        fast = second()
    for g, h in zip(fast, plain, strict=True):
        close(g.data, h.data, 4 * case.terms)


@each([c for cases in EMPTY.values() for c in cases])
def test_empty_arrays_give_what_the_plain_op_gives(case, capfd):
    """The same, and no complaint about a size of 0 from BLAS, which prints them."""

    def results():
        return computed(case, *drawn(case, np.random.default_rng(0)), on=enabled())

    plain = outcome(results)
    with mg.use_kernels():
        fast = outcome(results)
    if isinstance(plain, str):
        assert fast == plain
    else:
        all_close(fast, plain, case.terms)
    assert capfd.readouterr() == ("", "")


# --- arrays changed in place ----------------------------------------------------------------------
KEPT = {
    "linear": {0, 1},
    "matmul": {0, 1},
    "scaled_dot_product_attention": {0, 1, 2},
    "path_attention": {0, 1, 2},
}


@each(FIRST)
def test_a_write_between_forward_and_backward_is_seen_or_does_no_harm(case, rng):
    """To each argument and each result. The arguments in `KEPT` are saved themselves: an error."""
    arrays, cs = drawn(case, rng)
    ys, wanted = computed(case, arrays, cs, on=True)
    for n in range(len(wanted) + len(ys)):
        args = convert(arrays, lambda a: leaf(a.copy()))
        with ran(case.name):
            ys = case.ours(*args)
            with mg.no_grad():
                [*leaves_of(args), *ys][n][...] = 7.0
            roots = [(y.node, c) for y, c in zip(floating(ys), cs, strict=True)]
            found = outcome(lambda roots=roots: graph.walk(roots))
        if isinstance(found, str):
            assert "changed in place after the forward pass" in found
        else:
            assert n not in KEPT.get(case.name, ())
            for t, g in zip(leaves_of(args), wanted, strict=True):
                close(found[t.node], g, 2 * case.terms)
