"""Files: round trips, damage of every kind, interruption, resumption."""

import errno
import json
import os
import random
import socket
import stat
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import files, nn, optim
from minigrad.files import CheckpointError

base = np.arange(12.0, dtype="float32").reshape(3, 4)
ARRAYS = {
    "plain": base,
    "transposed": base.T,
    "fortran": np.asfortranarray(base),
    "reversed": base[::-1, ::-2],
    "broadcast": np.broadcast_to(np.float32(2.5), (3, 4)),
    "zero_d": np.array(1.5),
    "zero_d_int": np.array(7),
    "empty": np.zeros((0, 3), "float32"),
    "big_endian": base.astype(">f4"),
    "bool": np.array([True, False, True]),
    "bool_strided": np.array([True, False, True, True])[::2],
    "int64": np.array([-(2**62), 2**62]),
    "uint8": np.arange(5, dtype="uint8"),
    "int32_big_endian": np.arange(3, dtype=">i4"),
    "float16": np.array([1.0, 65504.0], "float16"),
    "float64": np.array([np.pi, -0.0, np.inf, np.nan]),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("wrap", [mg.Tensor, lambda array: array], ids=["tensor", "array"])
def test_arrays_come_back_with_their_values_shape_and_dtype(name, wrap, tmp_path):
    array = ARRAYS[name]
    path = tmp_path / "a.safetensors"
    mg.save({name: wrap(array), "other": base}, path)
    found = mg.load(path)
    assert set(found) == {name, "other"}
    got = found[name].data
    assert got.shape == array.shape
    assert got.dtype == array.dtype.newbyteorder("=")
    assert got.dtype.isnative
    assert got.tobytes() == np.asarray(array, got.dtype, order="C").tobytes()
    got[...] = 0  # the memory is the tensor's own, and may be written


def test_file_is_plain_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    mg.save({"w": base.T}, path, {"about": "é\u2028"})
    np.testing.assert_array_equal(safetensors.numpy.load_file(path)["w"], base.T)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata()["about"] == "é\u2028"
    safetensors.numpy.save_file({"w": base}, path)  # and one written elsewhere can be read
    np.testing.assert_array_equal(mg.load(path)["w"].data, base)


def test_a_parameter_comes_back_as_a_tensor_and_an_empty_file_as_an_empty_dict(tmp_path):
    path = tmp_path / "a.safetensors"
    mg.save({"p": nn.Parameter([1.0, 2.0])}, path)
    p = mg.load(path, device="cpu")["p"]
    assert not p.requires_grad
    np.testing.assert_array_equal(p.data, np.float32([1, 2]))
    mg.save({}, path)
    assert mg.load(path) == {}


def test_text_beside_the_tensors_comes_back(tmp_path):
    path = tmp_path / "a.safetensors"
    text = {"about": "é\u2028", "empty": "", "": "json: {}"}
    mg.save({"w": base}, path, text)
    assert mg.load_metadata(path) == text
    mg.save({"w": base}, path)
    assert mg.load_metadata(path) == {}
    safetensors.numpy.save_file({"w": base}, path, {"format": "np"})  # one written elsewhere
    assert mg.load_metadata(path) == {"format": "np"}
    mg.save({"w": base}, path, text)
    path.write_bytes(path.read_bytes().replace(b"json", b"JSON"))
    with pytest.raises(CheckpointError, match="damaged"):
        mg.load_metadata(path)


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        ({"a": "text"}, None, "a is str"),
        ({"a": np.array([1j])}, None, "a is complex128; expected booleans, integers or floats"),
        ({"a": np.array([None])}, None, "a is object"),
        ({"a": torch.zeros(1, dtype=torch.bfloat16)}, None, r"a is torch\.bfloat16"),
        ({"a": np.zeros(1, np.longdouble)}, None, "a is float128"),
        ({3: base}, None, "3 cannot be the name"),
        ({"__metadata__": base}, None, "cannot be the name"),
        ({"a": base}, {"a": 3}, "metadata 'a'"),
        ({"a": base}, {"minigrad.sha256": "0"}, "metadata"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_a_file_exists(tensors, metadata, words, tmp_path):
    with pytest.raises(TypeError, match=words):
        mg.save(tensors, tmp_path / "a", metadata)
    assert os.listdir(tmp_path) == []


def test_a_missing_file_or_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        mg.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        mg.save({"a": base}, tmp_path / "no" / "a")
    with pytest.raises(IsADirectoryError):
        mg.load(tmp_path)


# --- a training run -------------------------------------------------------------------------------
class Model(nn.Module):
    def __init__(self, hidden=4):
        self.embedding = nn.Embedding(5, 3, padding_idx=0)
        self.hidden = nn.Sequential(nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.Dropout(0.2))
        self.out = nn.Linear(hidden, 5)
        self.register_buffer("mask", mg.Tensor(np.array([0.0, -np.inf], "float32")))

    def forward(self, ids):
        return self.out(self.hidden(self.embedding(ids)))


def start(hidden=4, kind=optim.AdamW, seed=0):
    mg.random.seed(seed)
    model = Model(hidden)
    names = dict(model.named_parameters())
    decayed = [p for n, p in names.items() if n.endswith("weight")]
    biases = [p for n, p in names.items() if n.endswith("bias")]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": biases, "lr": 0.02}]
    return model, kind(groups, 0.01)


def train(model, optimizer, steps):
    for _ in range(steps):
        ids = mg.random.permutation(5)
        optimizer.zero_grad()
        mg.cross_entropy(model(ids), mg.tensor(ids)).backward()
        optimizer.step()


def everything(model, optimizer):
    state = optimizer.state_dict()
    tensors = {**model.state_dict(), **{f"slot {k}": v for k, v in state.pop("slots").items()}}
    return {k: v.tobytes() for k, v in tensors.items()}, state, mg.random.get_state()


@pytest.mark.parametrize("kind", [optim.AdamW, optim.SGD])
def test_resume_is_bitwise(kind, tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimizer = start(kind=kind)
    train(model, optimizer, 3)
    mg.save_checkpoint(path, model=model, optimizer=optimizer, step=3, extra={"best": [1, 0.1]})
    train(model, optimizer, 3)
    expected = everything(model, optimizer)
    model, optimizer = start(kind=kind, seed=9)
    train(model, optimizer, 1)
    checkpoint = mg.load_checkpoint(path, model=model, optimizer=optimizer)
    assert checkpoint == (3, {"best": [1, 0.1]})
    assert checkpoint.step == 3
    train(model, optimizer, 3)
    assert everything(model, optimizer) == expected


def test_loading_only_the_weights_leaves_the_random_state(tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimizer = start()
    train(model, optimizer, 2)
    mg.save_checkpoint(path, model=model, optimizer=optimizer, step=2)
    other, _ = start(seed=4)
    before = mg.random.get_state()
    assert mg.load_checkpoint(path, model=other) == (2, None)
    assert mg.random.get_state() == before
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
    mg.save_checkpoint(path, model=model, step=2)
    with pytest.raises(CheckpointError, match="optimizer: the file has none"):
        mg.load_checkpoint(path, model=model, optimizer=optimizer)


def test_slots_find_their_parameter_by_name(tmp_path):
    """Another order of the same parameters in the optimizer is refused, and not mixed up."""
    path = tmp_path / "c.safetensors"
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = optim.AdamW([model[0].weight, model[1].weight])
    for i, p in enumerate(optimizer.parameters()):
        p.grad = mg.tensor(np.full((2, 2), i + 1.0, "float32"))
    optimizer.step()
    mg.save_checkpoint(path, model=model, optimizer=optimizer, step=1)
    turned = optim.AdamW([model[1].weight, model[0].weight])
    with pytest.raises(CheckpointError, match="params"):
        mg.load_checkpoint(path, model=model, optimizer=turned)
    fewer = optim.AdamW([model[0].weight])
    with pytest.raises(CheckpointError, match=r"expected 1 .* got 2: \['0.weight', '1.weight'\]"):
        mg.load_checkpoint(path, model=model, optimizer=fewer)
    stranger = optim.AdamW([nn.Parameter([1.0])])
    with pytest.raises(ValueError, match="does not have"):
        mg.save_checkpoint(path, model=model, optimizer=stranger, step=1)


def test_mismatch_is_listed_and_changes_nothing(tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimizer = start(hidden=6)
    train(model, optimizer, 2)
    mg.save_checkpoint(path, model=model, optimizer=optimizer, step=2)
    other, other_optimizer = start(hidden=4)
    train(other, other_optimizer, 1)
    before = everything(other, other_optimizer)
    with pytest.raises(CheckpointError) as caught:
        mg.load_checkpoint(path, model=other, optimizer=other_optimizer)
    text = str(caught.value)
    assert "out.weight expected (5, 4), got (5, 6)" in text
    assert "hidden.1.running_mean expected (4,), got (6,)" in text
    assert "exp_avg_sq expected" in text
    assert everything(other, other_optimizer) == before
    model, optimizer = start(hidden=6, kind=optim.SGD)
    with pytest.raises(CheckpointError, match=r"missing:    groups\[0\].momentum"):
        mg.load_checkpoint(path, model=model, optimizer=optimizer)
    mg.save({"w": base}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of a run"):
        mg.load_checkpoint(path, model=model)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["model.out.weight", "optimizer.out.weight.exp_avg"])
def test_nan_is_refused(bad, where, tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimizer = start()
    train(model, optimizer, 2)
    mg.save_checkpoint(path, model=model, optimizer=optimizer, step=2)
    kept = path.read_bytes()
    array = (
        model.out.weight.data
        if where.startswith("model")
        else optimizer.slots[model.out.weight]["exp_avg"]
    )
    array[1, 2] = bad
    with pytest.raises(CheckpointError, match=f"infinite values in {where};"):
        mg.save_checkpoint(path, model=model, optimizer=optimizer, step=2)
    assert path.read_bytes() == kept
    mg.save_checkpoint(path, model=model, optimizer=optimizer, step=2, allow_nan=True)
    other, other_optimizer = start(seed=1)
    before = everything(other, other_optimizer)
    with pytest.raises(CheckpointError, match=f"infinite values in {where};"):
        mg.load_checkpoint(path, model=other, optimizer=other_optimizer)
    assert everything(other, other_optimizer) == before
    mg.load_checkpoint(path, model=other, optimizer=other_optimizer, allow_nan=True)


def test_extra_must_be_json(tmp_path):
    model, _ = start()
    with pytest.raises(TypeError, match="extra is not JSON"):
        mg.save_checkpoint(tmp_path / "c", model=model, step=1, extra=object())
    assert os.listdir(tmp_path) == []


# --- damage ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A file of a small run, what it goes into, and the state that no failed load may change."""
    path = tmp_path_factory.mktemp("run") / "c.safetensors"
    mg.random.seed(0)
    model = nn.Linear(2, 1)
    optimizer = optim.AdamW(model.parameters(), 0.01)
    for p in model.parameters():
        p.grad = mg.Tensor(np.ones_like(p.data))
    optimizer.step()
    mg.save_checkpoint(path, model=model, optimizer=optimizer, step=1, extra={"seed": "005"})
    return path.read_bytes(), path.with_name("bad"), model, optimizer


def refused(run, data):
    """Whether loading fails with CheckpointError and changes nothing; any other error is raised."""
    _, path, model, optimizer = run
    path.write_bytes(data)
    before = everything(model, optimizer)
    try:
        mg.load_checkpoint(path, model=model, optimizer=optimizer)
    except CheckpointError:
        assert everything(model, optimizer) == before
        return True
    return False


def test_every_truncation_is_refused(run):
    data = run[0]
    assert not refused(run, data)
    for length in range(0, len(data), 7):
        assert refused(run, data[:length])
    assert refused(run, data[:-1])
    assert refused(run, data + b"\0")


def test_every_flipped_bit_is_refused(run):
    """One bit in every byte, a different one each time the test's numbers come round."""
    data = bytearray(run[0])
    for i in range(len(data)):
        bit = 1 << (i % 8)
        data[i] ^= bit
        assert refused(run, bytes(data)), f"byte {i} of {len(data)}: {bytes(data[i : i + 1])}"
        data[i] ^= bit


def header_only(header, length=None, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


MALFORMED = {
    "empty": b"",
    "text": b"not a checkpoint at all",
    "zip": b"PK\x03\x04" + bytes(100),
    "huge_header": struct.pack("<Q", 2**63) + b"{}",
    "billion_byte_header": header_only({}, length=10**9),
    "billion_elements": header_only(
        {"w": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}
    ),
    "overflowing_shape": header_only(
        {"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, body=bytes(4)
    ),
    "negative_offset": header_only(
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, body=bytes(4)
    ),
    "unknown_dtype": header_only(
        {"w": {"dtype": "Q77", "shape": [1], "data_offsets": [0, 4]}}, body=bytes(4)
    ),
    "bfloat16": header_only(
        {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, body=bytes(4)
    ),
    "complex": header_only(
        {"w": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, body=bytes(8)
    ),
    "deep_json": header_only(b"[" * 100_000),
    "list_header": header_only([]),
    "numeric_metadata": header_only({"__metadata__": {"a": 1}}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_by_its_name(name, run, tmp_path):
    path = tmp_path / "bad"
    path.write_bytes(MALFORMED[name])
    with pytest.raises(CheckpointError, match=str(path)):
        mg.load(path)
    assert refused(run, MALFORMED[name])


@pytest.mark.parametrize("dtype", ["BF16", "C64", "F8_E4M3"])
def test_a_dtype_that_numpy_lacks_is_named_with_its_tensor(dtype, tmp_path):
    path = tmp_path / "a"
    entries = {"w": {"dtype": dtype, "shape": [0], "data_offsets": [0, 0]}}
    entries["x"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path.write_bytes(header_only(entries))
    with pytest.raises(CheckpointError, match=rf"a: w is {dtype}; expected BOOL, .*F32, F64"):
        mg.load(path)


def test_every_dtype_that_a_tensor_can_have_is_read(tmp_path):
    """What a file may hold, and what the message above lists, are the same."""
    codes = {"b": "BOOL"} | {f"{k}{n}": f"{k.upper()}{8 * n}" for k in "uif" for n in (1, 2, 4, 8)}
    del codes["f1"]
    for code in codes:
        mg.save({"w": np.zeros(2, "?" if code == "b" else code)}, tmp_path / "a")
        assert mg.load(tmp_path / "a")["w"].shape == (2,)
    assert set(codes.values()) == set(files.DTYPES)


def rewritten(run, change, checksum=True):
    """The run's file with its content changed and, as if by a program of ours, a new checksum."""
    data = run[0]
    run[1].write_bytes(data)
    arrays, metadata = files.read_file(run[1])
    header = json.loads(metadata[files.CHECKPOINT])
    arrays = {k: v.copy() for k, v in arrays.items()}
    header = change(header, arrays) or header
    text = header if isinstance(header, str) else json.dumps(header)
    if not checksum:
        return safetensors.numpy.save(arrays, {files.CHECKPOINT: text})
    return files.serialized(arrays, {files.CHECKPOINT: text})


@pytest.mark.parametrize(
    "change",
    [
        lambda h, a: h.pop("step"),
        lambda h, a: h.update(step="1"),
        lambda h, a: h.update(version=99),
        lambda h, a: h.update(random=None),
        lambda h, a: h.update(random={"seed": -1, "draws": {}}),
        lambda h, a: h.update(random={"seed": 1, "draws": [1]}),
        lambda h, a: h.update(random={"seed": "x", "draws": {}}),
        lambda h, a: h.update(random={"seed": 1, "draws": {"init": "x"}}),
        lambda h, a: h.update(random={"seed": 1, "draws": {"init": -1}}),
        lambda h, a: h.update(optimizer=3),
        lambda h, a: h.update(optimizer={}),
        lambda h, a: h["optimizer"].update(lr="x"),
        lambda h, a: h["optimizer"].update(groups={}),
        lambda h, a: h["optimizer"].update(groups=[1]),
        lambda h, a: h["optimizer"].update(stepped=[["weight"]]),
        lambda h, a: h["optimizer"].update(stepped=None),
        lambda h, a: h["optimizer"]["groups"][0].update(betas=3),
        lambda h, a: h["optimizer"]["groups"][0].update(params=[3]),
        lambda h, a: "[" * 5000,
        lambda h, a: "[]",
        lambda h, a: "nothing",
        lambda h, a: a.pop("model.weight"),
        lambda h, a: a.update({"model.wieght": base}),
        lambda h, a: a.update({"stray": base}),
        lambda h, a: a.update({"optimizer.weight.stray": base}),
        lambda h, a: a.update({"optimizer.stray": base}),
        lambda h, a: a.update({"model.weight": base}),
        lambda h, a: a.update({"model.weight": a["model.weight"].astype("float64")}),
        lambda h, a: a.update({"optimizer.weight.step": np.array(-1)}),
    ],
)
def test_a_well_formed_file_with_wrong_contents_is_refused(change, run):
    def changed(header, arrays):
        result = change(header, arrays)
        return result if isinstance(result, str) else header

    assert not refused(run, rewritten(run, lambda h, a: h))
    assert refused(run, rewritten(run, lambda h, a: h, checksum=False))
    assert refused(run, rewritten(run, changed))


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 2**16), st.integers(0, 64), st.binary(max_size=24)),
        min_size=1,
        max_size=4,
    )
)
def test_edits_at_random_places_are_refused(run, edits):
    """Pieces of the file replaced, removed and inserted: no error but CheckpointError."""
    data = run[0]
    for place, removed, inserted in edits:
        place %= len(data) + 1
        data = data[:place] + inserted + data[place + removed :]
    assert refused(run, data) or data == run[0]


# --- interruption ---------------------------------------------------------------------------------
def test_mode_follows_umask(tmp_path):
    for mask in (0o022, 0o027, 0o077):
        before = os.umask(mask)
        try:
            path = tmp_path / f"{mask}"
            mg.save({"a": base}, path)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_keeps_the_old_file(call, tmp_path, monkeypatch):
    path = tmp_path / "a"
    mg.save({"a": base}, path)
    kept = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        mg.save({"a": base * 2}, path)
    monkeypatch.undo()
    assert path.read_bytes() == kept
    assert os.listdir(tmp_path) == ["a"]


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


SPECIAL = {"pipe": (os.mkfifo, OSError), "socket": (make_socket, OSError)}
SPECIAL["folder"] = os.mkdir, IsADirectoryError


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("special", SPECIAL)
def test_what_is_no_file_is_not_replaced_by_one(special, link, tmp_path):
    """A device too: whatever is neither a file nor absent. (To try it, one must own a device.)"""
    make, error = SPECIAL[special]
    path = tmp_path / "a"
    make(path)
    before = path.lstat()
    if link:
        path = tmp_path / "link"
        path.symlink_to("a")
    with pytest.raises(error, match=str(path)) as caught:
        mg.save({"a": base}, path)
    assert "tmp'" not in str(caught.value)
    assert (before.st_ino, before.st_mode) == (path.stat().st_ino, path.stat().st_mode)
    assert set(os.listdir(tmp_path)) == {"a", *["link"] * link}


def test_a_device_is_not_replaced_by_a_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"as it was")
    device = os.stat_result((stat.S_IFCHR | 0o666, *[0] * 9))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda *_: device)
        with pytest.raises(OSError, match="a pipe, socket or device, where a file is expected"):
            mg.save({"a": base}, str(path))
    assert path.read_bytes() == b"as it was"


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "n" * 101])
def test_a_name_as_long_as_the_system_allows(name, tmp_path):
    """Its temporary name would be longer. What a killed process left is found by it, too."""
    path = tmp_path / name
    for n in (1.0, 2.0):
        mg.save({"a": base * n}, path)
    np.testing.assert_array_equal(mg.load(path)["a"].data, base * 2)
    run = [sys.executable, "-c", "import os; print(os.getpid())"]
    dead = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    left = tmp_path / f".{files.stem(name)}.{files.host()}.{dead}.0123abcd.tmp"
    left.write_bytes(b"")
    mg.save({"a": base}, path)
    assert os.listdir(tmp_path) == [name]
    assert files.stem(name) != files.stem(name + "n")


def test_an_error_names_the_file_that_was_asked_for(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    for path, error in (
        (tmp_path / "no" / "a", FileNotFoundError),
        (tmp_path / "file" / "a", NotADirectoryError),
        (tmp_path / ("n" * 256), OSError),
    ):
        with pytest.raises(error) as caught:
            mg.save({"a": base}, path)
        assert caught.value.filename == str(path)
        assert os.listdir(tmp_path) == ["file"]

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/file'"):
        mg.save({"a": base}, tmp_path / "file")


def child(code, *args, **kwargs):
    environment = {**os.environ, "PYTHONPATH": str(Path(mg.__file__).parents[1])}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, **kwargs
    )


def test_write_that_stops_halfway(tmp_path):
    """A limit on the size of files stops the write after 4 kB, as a full disk would."""
    path = tmp_path / "a"
    mg.save({"a": base}, path)
    kept = path.read_bytes()
    result = child(
        """
        import resource, signal, sys
        import numpy as np, minigrad as mg
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            mg.save({"a": np.zeros(100_000)}, sys.argv[1])
        except OSError as error:
            print(error.errno)
        """,
        path,
    )
    assert result.stdout.split() == [str(errno.EFBIG)], result.stderr
    assert path.read_bytes() == kept
    assert os.listdir(tmp_path) == ["a"]


def test_kill_at_random_moments(tmp_path):
    """20 times: a process saves in a loop and is killed; the file loads, at the step last reported
    or later, and the next save sweeps what the dead process left.
    """
    seed = random.randrange(2**32)
    result = child(
        """
        import os, random, signal, sys, time
        import numpy as np, minigrad as mg
        from minigrad import nn, optim

        folder, random_moment = sys.argv[1], random.Random(int(sys.argv[2]))
        path = os.path.join(folder, "c")
        model = nn.Linear(512, 512)
        optimizer = optim.AdamW(model.parameters())
        for p in model.parameters():
            p.grad = mg.Tensor(np.ones_like(p.data))
        optimizer.step()
        mg.save_checkpoint(path, model=model, optimizer=optimizer, step=0)
        swept = 0
        for _ in range(20):
            reader, writer = os.pipe()
            process = os.fork()
            if process == 0:
                for step in range(1, 1_000_000):
                    model.weight.data[...] = step
                    mg.save_checkpoint(path, model=model, optimizer=optimizer, step=step)
                    os.write(writer, step.to_bytes(4, "little"))
            assert os.read(reader, 4) == (1).to_bytes(4, "little")
            time.sleep(random_moment.uniform(0.0, 0.06))
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(writer)
            reported = 1 + len(os.read(reader, 2**16)) // 4
            os.close(reader)
            step, _ = mg.load_checkpoint(path, model=model, optimizer=optimizer)
            assert reported <= step <= reported + 1, (step, reported)
            assert (model.weight.data == step).all()
            swept += len(os.listdir(folder)) - 1
            mg.save_checkpoint(path, model=model, optimizer=optimizer, step=0)
            assert os.listdir(folder) == ["c"], os.listdir(folder)
        print(swept)
        """,
        tmp_path,
        seed,
    )
    assert result.returncode == 0, f"seed {seed}: {result.stderr}"
    assert int(result.stdout) > 0, f"seed {seed}: no save was ever interrupted"


def test_only_leftovers_of_dead_processes_of_this_machine_are_removed(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    dead = int(dead.stdout)
    host = files.host()
    stay = [
        f".a.{host}.{os.getpid()}.0123abcd.tmp",  # being written
        f".a.elsewhere.{dead}.0123abcd.tmp",  # a process of another machine
        f".b.{host}.{dead}.0123abcd.tmp",  # for another file
        f".a.{host}.{dead}.tmp",
        "b",
    ]
    for name in [*stay, f".a.{host}.{dead}.0123abcd.tmp"]:
        (tmp_path / name).write_bytes(b"")
    mg.save({"a": base}, tmp_path / "a")
    assert sorted(os.listdir(tmp_path)) == sorted([*stay, "a"])


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "a")
    mg.save({"a": base}, link)
    assert link.is_symlink()
    assert os.listdir(tmp_path / "real") == ["a"]


def test_import_is_light_and_missing_safetensors_is_named():
    result = child(
        """
        import sys
        import minigrad as mg
        heavy = {"safetensors", "json", "hashlib", "torch", "cupy"} & set(sys.modules)
        assert not heavy, heavy
        sys.modules["safetensors"] = None
        try:
            mg.save({}, "nowhere")
        except ImportError as error:
            print(error)
        """
    )
    assert "minigrad[experiments]" in result.stdout, result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_tensors_of_every_layout_and_dtype_come_back_equal(tmp_path):
    a = np.arange(6.0).reshape(2, 3)
    arrays = {"t": a.T, "r": a[::-1], "b": np.broadcast_to(a[:1], (4, 3)), "s": np.array(2.5)}
    mg.save({name: mg.Tensor(array) for name, array in arrays.items()}, tmp_path / "x.safetensors")
    for name, t in mg.load(tmp_path / "x.safetensors").items():
        assert np.array_equal(t.data, arrays[name])
        assert t.shape == arrays[name].shape
