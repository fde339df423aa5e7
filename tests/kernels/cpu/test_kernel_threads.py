"""Threads while kernels are on: BLAS has one, and Python may have several."""

import contextlib
import threading

import numpy as np
import pytest
from kernel_cases import EXTRA
from kernel_checks import all_close, computed, drawn, python, ran
from op_checks import convert, leaf, our_gradients

import minigrad as mg


def test_blas_has_one_thread_while_kernels_are_on():
    import threadpoolctl

    def threads():
        info = threadpoolctl.threadpool_info()
        return {i["num_threads"] for i in info if i["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert threads() == {2}
        for _ in range(2):
            mg.use_kernels()
            mg.use_kernels()
            assert threads() == {1}
            mg.use_kernels(False)
            assert threads() == {2}


@pytest.mark.parametrize("number", [1, 2])
def test_four_python_threads_at_once(number, monkeypatch):
    """Each runs a case of every op, forward and backward, in an order of its own, three times."""
    from kernels.cpu import compiled

    monkeypatch.setattr(compiled, "PARTS", 2)
    tried = [EXTRA[name][number] for name in EXTRA]
    given = [drawn(case, np.random.default_rng(0)) for case in tried]
    wanted = [computed(case, *g) for case, g in zip(tried, given, strict=True)]
    problems, start = [], threading.Barrier(4)

    def work(shift):
        try:
            start.wait(30)
            for n in [*range(shift, len(tried)), *range(shift)] * 3:
                args = convert(given[n][0], leaf)
                values = [y.data for y in tried[n].ours(*args)]
                found = values, our_gradients(tried[n], args, given[n][1])
                all_close(found, wanted[n], tried[n].terms)
        except BaseException as error:
            problems.append(error)

    with contextlib.ExitStack() as stack:
        for name in EXTRA:
            stack.enter_context(ran(name))
        threads = [threading.Thread(target=work, args=(2 * i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
    assert not problems
    assert not any(t.is_alive() for t in threads)


def test_python_threads_take_turns():
    """Not every pool of threads that Numba may find stands two callers: this one would abort."""
    said = python(
        "import threading, numba, numpy as np, minigrad as mg\n"
        "mg.use_kernels()\n"
        "x = mg.Tensor(np.zeros(1 << 20, np.float32))\n"
        "def work():\n"
        "    for _ in range(20):\n"
        "        mg.gelu(x)\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "for t in threads:\n"
        "    t.start()\n"
        "for t in threads:\n"
        "    t.join()\n"
        "print(numba.threading_layer())",
        NUMBA_THREADING_LAYER="workqueue",
    )
    assert said == "workqueue\n"
