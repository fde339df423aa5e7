"""Arrays of CuPy in the engine: files, DLPack, two GPUs, and what is said of mistakes.

`test_gpu_stub.py` runs this file on the stub of a GPU, in a process of its own. Copies are real
there, so what went to a GPU and came back can be compared.
"""

import re

import cupy as cp
import numpy as np
import pytest

import minigrad as mg
from minigrad import optim
from minigrad.device import DeviceError
from models import GPT, GPTConfig


def model(device):
    mg.random.seed(1)
    return GPT(GPTConfig(7, 16, 1, 2, max_length=5)).to(device)


def step(model, optimizer, device):
    ids, targets = (mg.tensor([[n, n + 1, n + 2]], device=device) for n in (1, 2))
    optimizer.zero_grad()
    loss = mg.cross_entropy(model(ids), targets)
    loss.backward()
    optim.clip_grad_norm(optimizer.parameters(), 1.0)
    optimizer.step()
    return loss


# --- files and other libraries --------------------------------------------------------------------
def test_weights_come_back_from_a_file_and_a_gpu_as_they_were(tmp_path):
    path, here = tmp_path / "weights.safetensors", model("cpu").state_dict()
    mg.save(model("cuda").state_dict(), path)
    there = mg.load(path, device="cuda")
    assert there.keys() == here.keys()
    for name, weight in there.items():
        assert weight.device == "cuda:0"
        np.testing.assert_array_equal(weight.cpu().numpy(), here[name])


@pytest.mark.parametrize("kernels", [False, True], ids=["plain", "kernels"])
def test_training_goes_on_from_a_checkpoint_of_a_gpu_on_either_device(kernels, tmp_path):
    path, there = tmp_path / "run.safetensors", model("cuda")
    with mg.use_kernels(kernels):
        optimizer = optim.AdamW(there.parameters())
        step(there, optimizer, "cuda")
        mg.save_checkpoint(path, model=there, optimizer=optimizer, step=1)
        for device in ("cpu", "cuda:0"):
            again = model(device)
            optimizer = optim.AdamW(again.parameters())
            assert mg.load_checkpoint(path, model=again, optimizer=optimizer).step == 1
            assert step(again, optimizer, device).device == device


def test_dlpack_shares_memory_both_ways():
    array = cp.asarray(np.arange(6.0).reshape(2, 3))
    tensor = mg.from_dlpack(array)
    assert (tensor.device, tensor.tolist()) == ("cuda:0", [[0, 1, 2], [3, 4, 5]])
    assert tensor.data.data.ptr == array.data.ptr
    assert cp.from_dlpack(tensor).data.ptr == array.data.ptr


# --- two GPUs -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kernels", [False, True], ids=["plain", "kernels"])
def test_a_model_is_trained_on_the_second_gpu(kernels):
    with mg.use_kernels(kernels), mg.use_device("cuda:1"):
        there = model("cuda:1")
        loss = step(there, optim.AdamW(there.parameters()), "cuda:1")
    assert {t.device for p in there.parameters() for t in (p, p.grad, loss)} == {"cuda:1"}
    assert cp.cuda.runtime.getDevice() == 0
    assert loss.to("cuda:0").device == "cuda:0"


def test_memory_is_told_of_both():
    held = cp.zeros(1 << 28, np.uint8)
    _, first, second, _ = mg.debug.memory().split("\n")
    assert first.split()[0::4] == ["cuda:0", "80.000"]
    assert second.split()[0::4] == ["cuda:1", "80.000"]
    assert float(first.split()[1]) > held.nbytes / 1e9 > float(second.split()[1])


# --- mistakes, each told in a line ----------------------------------------------------------------
GPU = mg.zeros((3, 2), device="cuda")
OTHER_GPU = mg.zeros((3, 2), device="cuda:1")
HOST = mg.zeros((3, 2))
ELSEWHERE = "an array is on cuda:1, and ops run on the current GPU, cuda:0; change it with "
APART = "the arguments are on cpu and cuda:0; move one with .to()"
MISTAKES = {
    "an array of the other GPU": (lambda: mg.exp(OTHER_GPU), ValueError, f"exp: {ELSEWHERE}"),
    "arrays of both GPUs": (
        lambda: GPU + OTHER_GPU,
        ValueError,
        "add: the arguments are on cuda:0 and cuda:1; move one with .to()",
    ),
    "host and GPU": (lambda: GPU + HOST, TypeError, f"add: {APART}"),
    "an index out of range": (
        lambda: GPU[np.int64(7)],
        IndexError,
        "getitem: Index 7 is out of bounds for axis 0 with size 3",
    ),
    "a list out of range": (
        lambda: GPU[[0, 7]],
        IndexError,
        "getitem: index 7 is out of range for an axis of 3",
    ),
    "an index of the host": (lambda: GPU[np.array([0, 7])], TypeError, f"getitem: {APART}"),
    "ids of the host": (
        lambda: mg.embedding(GPU, mg.tensor([0, 1])),
        RuntimeError,
        f"embedding: {APART}",
    ),
    "no memory left": (
        lambda: GPU[0, 0].broadcast_to((1 << 35,)) + 1.0,
        MemoryError,
        "add: Out of memory allocating 137,438,953,472 bytes ",
    ),
    "a NumPy array of it": (
        lambda: np.asarray(GPU),
        RuntimeError,
        "numpy: the tensor is on cuda:0; use t.cpu().numpy()",
    ),
    "a third GPU": (
        lambda: HOST.to("cuda:2"),
        DeviceError,
        "device cuda:2 was asked for; this machine has 2 GPU(s)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_a_line(mistake):
    call, error, line = MISTAKES[mistake]
    with pytest.raises(error, match=f"^{re.escape(line)}") as caught:
        call()
    assert "\n" not in str(caught.value)


def test_indices_that_numpy_takes_are_taken():
    for index in (1, np.int64(1), np.array(1), -1, [0, 2], range(2), slice(1), ..., None):
        assert GPU[index].shape == HOST[index].shape
