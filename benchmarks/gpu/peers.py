"""PyTorch on the same GPU: its training step in three ways, and its attention.

Products of float32 are exact on both sides: PyTorch's default for `matmul`, and set for cuDNN.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.problems import Problem
from benchmarks.sides import EAGER, FUSED, Unavailable, torch_step

Step = Callable[[], Any]

if not torch.cuda.is_available():
    raise ImportError("PyTorch sees no GPU")
torch.backends.cudnn.allow_tf32 = False


# --- a training step ------------------------------------------------------------------------------
def ways(problem: Problem) -> dict[str, Callable[[], Step]]:
    """By name what makes a step. As users have it, compiled, and as one CUDA graph."""
    kind = "SeedGPT" if problem.model == "gpt" else "SeedLSTM"
    on_gpu = partial(torch_step, problem, device="cuda")
    found: dict[str, Callable[[], Step]] = {
        EAGER: partial(on_gpu, kind),
        "PyTorch reduce-overhead": partial(on_gpu, kind, True, mode="reduce-overhead"),
        "PyTorch CUDA graph": partial(graphed, problem, kind),
    }
    if problem.model == "lstm":
        found[FUSED] = partial(on_gpu, "FusedLSTM")
        found[f"{FUSED} CUDA graph"] = partial(graphed, problem, "FusedLSTM")
    return found


def graphed(problem: Problem, kind: str) -> Step:
    """The whole step, AdamW fused, as a CUDA graph that is replayed."""
    step = torch_step(problem, kind, device="cuda", optimizer={"fused": True, "capturable": True})
    try:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = step()
    except RuntimeError as error:
        raise Unavailable(f"{error}".split("\n")[0]) from None

    def replay() -> Any:
        graph.replay()
        return loss

    return replay


# --- attention ------------------------------------------------------------------------------------
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION}


def attention(
    shape: tuple[int, int, int, int], dtype: str, backend: str | None, backward: bool
) -> Step:
    """Causal attention of q, k, v of a shape (B, H, T, d); None takes PyTorch's own choice.

    Unavailable where the backend does not serve it.
    """
    make = partial(torch.randn, shape, device="cuda", dtype=getattr(torch, dtype))
    q, k, v = (make(requires_grad=backward) for _ in range(3))
    g = make()

    def step() -> Any:
        with nullcontext() if backend is None else sdpa_kernel(BACKENDS[backend]):
            y = scaled_dot_product_attention(q, k, v, is_causal=True)
            return torch.autograd.grad(y, (q, k, v), g) if backward else y

    try:
        step()
    except RuntimeError as error:
        raise Unavailable(f"{error}".split("\n")[0]) from None
    return step


def replayed(step: Step, launches: int = 20) -> Step:
    """A step so many times in one CUDA graph."""
    aside = torch.cuda.Stream()
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            step()
    return graph.replay
