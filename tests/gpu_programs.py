"""What the tests run on the stub of a GPU, each in a process of its own.

    python -m gpu_programs NAME ARGUMENTS     prints what the function returns, in JSON

No value means anything there, so these functions return shapes, dtypes, counts and errors.
"""

from __future__ import annotations

import functools
import json
import operator
import sys
import traceback
from dataclasses import replace

import numpy as np
from cases import ALL
from gpu_stub import log

import minigrad as mg
from benchmarks.gpu.parity import leaves_of, mapped
from benchmarks.gpu.steps import updates
from experiments.trial.training import Trial
from minigrad import Tensor
from minigrad import device as devices

GPU = "cuda:0"


def ops(kernels):
    """Every case: {id: what is not on the GPU as it is on the CPU}."""
    mg.use_kernels(kernels)
    cases = [case for case in ALL if case.name != "to_device"]
    return {case.id: problem for case in cases if (problem := difference(case))}


def difference(case):
    try:
        found, wanted = (derivatives(case, device) for device in (GPU, "cpu"))
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    pairs = zip(found, wanted, strict=True)
    return "; ".join(f"{a}, on the CPU {b}" for a, b in pairs if a != b)


def derivatives(case, device):
    """Shapes and dtypes of the values, of their gradients, and of the gradients of those."""

    def there(a):
        return devices.move(a.astype(np.float32) if a.dtype.kind == "f" else a, device)

    def prepared(a):  # arrays become tensors, but for indices in tuples
        if isinstance(a, list):
            return [prepared(item) for item in a]
        if isinstance(a, np.ndarray):
            return Tensor(there(a)).requires_grad_(a.dtype.kind == "f")
        return mapped(there, a)

    def value(*leaves):
        return squares(case.ours(*with_leaves(args, leaves)))

    case = replace(case, kwargs=mapped(there, case.kwargs))
    args = prepared(case.arrays(np.float32))
    ys, leaves = case.ours(*args), leaves_of(args)
    found = [about(y, device) for y in ys]
    if case.order > 0:
        squares(ys).backward()
        found += [about(x.grad, device) for x in leaves]
    if case.order > 1:
        all_of_them = tuple(range(len(leaves)))
        gradients = mg.grad(value, all_of_them)
        seconds = mg.grad(lambda *leaves: squares(gradients(*leaves)), all_of_them)
        found += [about(g, device) for g in seconds(*leaves)]
    return found


def with_leaves(args, leaves):
    """The arguments with other tensors in the places of `leaves_of`."""
    others = iter(leaves)

    def replaced(a):
        if isinstance(a, list):
            return [replaced(item) for item in a]
        return next(others) if getattr(a, "requires_grad", False) else a

    return replaced(list(args))


def squares(tensors):
    """A number that depends on tensors, and not linearly."""
    terms = [(t * t).sum() for t in tensors if t.dtype.kind == "f"]
    return functools.reduce(operator.add, terms)


def about(tensor, device):
    if tensor is None:
        return "none"
    return f"{tensor.shape} {tensor.dtype}" + f" on {tensor.device}" * (tensor.device != device)


# --- a step of training ---------------------------------------------------------------------------
def counts(model, kernels, recorded, replicas):
    """Of one step of the sanity experiment, after four others: launches, copies, waits by name."""
    mg.use_kernels(kernels)
    trials = [Trial(model=model, seed=n) for n in range(replicas)]
    update = updates(trials, GPU, recorded=recorded)
    for _ in range(4):
        update()
    start = log.mark()
    update()
    return [dict(counted) for counted in log.since(start)]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
