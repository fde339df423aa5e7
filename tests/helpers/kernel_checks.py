"""How a CPU kernel is tried: a case with kernels on and off, and what of it ran.

Only rounding may differ. A tolerance is terms × eps × the largest magnitude, as everywhere
(`op_checks.close`), and a kernel is held to the plain op in float64 as well as in float32.
"""

import contextlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from op_checks import close, convert, cotangents, floating, is_float, leaf, our_gradients, read_only

import minigrad as mg
from minigrad.kernel import KERNELS
from minigrad.op import OPS

ROOT = Path(__file__).parents[2]


def counts(name):
    """How often the kernel of an op ran, and why it did not."""
    (found,) = (k for k in KERNELS if k.routine.name == name)
    return found.used, Counter(found.declined)


@contextlib.contextmanager
def ran(name):
    """Kernels are on in here, and that of `name` is used."""
    before, _ = counts(name)
    with mg.use_kernels():
        yield
    assert counts(name)[0] > before, f"the kernel of {name} was not used: {counts(name)[1]}"


def drawn(case, rng):
    """Float32 arguments and cotangents, read-only."""
    arrays = convert(case.arrays(np.float32), read_only)
    ys = floating(case.ours(*convert(arrays, leaf)))
    return arrays, [read_only(c) for c in cotangents(ys, rng, np.float32)]


def computed(case, arrays, cs, on=False):
    """Values and gradients with kernels on or off."""
    with mg.use_kernels(on):
        args = convert(arrays, leaf)
        return [y.data for y in case.ours(*args)], our_gradients(case, args, cs)


def all_close(found, wanted, terms):
    (ys, gs), (zs, hs) = found, wanted
    for n, (y, z) in enumerate(zip(ys, zs, strict=True)):
        close(y, z, terms, f"value {n}")
    for n, (g, h) in enumerate(zip(gs, hs, strict=True)):
        close(g, h, 2 * terms, f"gradient {n}")


def replicas(case, arrays):
    """How many parts the arguments are a stack of; 1 if they are none."""
    this = OPS[case.name]
    args = [b for a in arrays for b in (a if isinstance(a, list) else [a])]
    stack = this.stacked is not None and this.stacked.form(args) is not this
    return len(args[0]) if stack else 1


def doubled(a):
    return a.astype(np.float64) if is_float(a) else a


def flat(args):
    """The arrays among the arguments, also those in lists."""
    nested = [flat(a) if isinstance(a, list) else [a] for a in args]
    return [a for part in nested for a in part if isinstance(a, np.ndarray)]


def with_flat(args, arrays):
    """The arguments with other arrays."""
    rest = iter(arrays)
    return convert(args, lambda _: next(rest))


def outcome(f):
    """What f returns, or its error in words."""
    try:
        return f()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def python(code, **environment):
    """Run code in a new process; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def f4(*shape):
    """Ones in float32."""
    return mg.Tensor(np.ones(shape, np.float32))
