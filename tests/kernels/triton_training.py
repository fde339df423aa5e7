"""Training steps with all GPU kernels, recorded and replayed, on arrays that stand for CuPy's.

`test_triton.py` runs this file in a process of its own, with TRITON_INTERPRET=1.
"""

import fake_gpu
import numpy as np
import pytest

import minigrad as mg
from experiments.grokking.task import Grokking
from experiments.train import loop
from kernels.cuda.launch import INTERPRETED
from minigrad.kernel import KERNELS

if not INTERPRETED:
    pytest.skip("the stand-in needs the interpreter", allow_module_level=True)


@pytest.fixture
def gpu(monkeypatch):
    fake_gpu.install_kernels(monkeypatch)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_recorded_steps_have_the_losses_of_the_cpu(kind, replicas, gpu, monkeypatch):
    """Four steps in float32: losses equal to 1e-5, some 50 roundings of an eps of 1.2e-7."""
    trials = [Grokking(model=kind, p=3, d=16, seed=n, lr=1e-3 * (n + 1)) for n in range(replicas)]

    def losses(device):
        tasks = []
        for trial in trials:
            mg.random.seed(trial.seed)
            tasks.append(trial.task(device))
        one = replicas == 1
        task = tasks[0] if one else type(tasks[0]).stacked(tasks)
        step = loop.Step(task, loop.optimizer_of(trials[0], task.model, trials[1:]), 1.0)
        rng, found = np.random.default_rng(0), []
        for _ in range(4):
            rows = [rng.permutation(task.size) for _ in trials]
            found.append(step(rows[0] if one else np.stack(rows)).tolist())
        graphs = [recording.graph is not None for recording in step.recordings.values()]
        assert graphs == [True] * step.recorded
        assert step.recorded == (device == "cuda:0")
        return np.array(found)

    monkeypatch.setattr(loop, "enabled", lambda: True)
    wanted = losses("cpu")
    for k in KERNELS:
        monkeypatch.setattr(k.routine, "run", k.routine.choose)
    np.testing.assert_allclose(losses("cuda:0"), wanted, rtol=1e-5)
    used = {k.routine.name for k in KERNELS if k.used}
    mapped = {"lstm": {"lstm"}, "gpt": {"layer_norm"}}[kind]
    if replicas > 1:
        mapped = {f"stacked {name}" for name in (*mapped, "linear", "embedding")}
    of_model = {"lstm": set(), "gpt": {"scaled_dot_product_attention", "gelu"}}[kind]
    common = {"product", "cross_entropy", "adam_update_all", "clip_arrays"}
    assert used >= common | of_model | mapped
