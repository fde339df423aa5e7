"""One op in four forms: what docs/attention.md says of `benchmarks/attention` is so."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="the compiled form needs Numba: install minigrad[fast]")

from benchmarks.attention import __main__ as benchmark
from benchmarks.attention import arrays, loops, tables
from benchmarks.attention.work import FLOAT, TILE, work

ROOT = Path(__file__).parents[2]
FORMS = ROOT / "benchmarks" / "attention"
PAGE = (ROOT / "docs" / "attention.md").read_text(encoding="utf-8")
RECORD = ROOT / "docs" / "results" / "speed" / "attention_forms.json"


# --- the page -------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["loops", "arrays", "compiled", "tiles"])
def test_the_page_quotes_the_form(form):
    source = (FORMS / f"{form}.py").read_text(encoding="utf-8")
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    quoted = [f for f in functions if f.name != "main"]
    assert {"forward", "backward"} <= {f.name for f in quoted}
    for f in quoted:
        first = min([f.lineno, *(d.lineno for d in f.decorator_list)])
        text = "\n".join(source.splitlines()[first - 1 : f.end_lineno])
        assert text in PAGE, f"{form}.py: {f.name}"


def test_the_page_has_the_numbers_of_the_record():
    for line in tables.lines(json.loads(RECORD.read_text())):
        assert line in PAGE, "put what python -m benchmarks.attention printed into the page"


def test_the_kernels_compute_what_the_page_says():
    """In Triton's interpreter, which Triton must be told of before it is imported."""
    triton = pytest.importorskip("triton", reason="install minigrad[triton]")
    if triton.__version__.startswith("3.6.") and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        pytest.skip("NumPy 2.4 no longer allows what the interpreter of Triton 3.6 does")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attention.tiles"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True") == 8
    assert f"```text\n{done.stdout}```" in PAGE


@pytest.mark.parametrize("architecture", [80, 90])
def test_the_kernels_compile_for_a_gpu_and_fit_its_registers(architecture, monkeypatch):
    pytest.importorskip("triton", reason="install minigrad[triton]")
    from benchmarks import gpu_resources
    from benchmarks.attention import tiles
    from kernels.cuda.launch import INTERPRETED, compile_only

    if INTERPRETED:
        pytest.skip("the interpreter cannot compile")
    kinds = {np.ndarray: "*fp32:16", int: "i32:16", float: "fp32"}
    spilled = {}

    def note(kernel, grid, args, constants):
        types = [kinds[type(a)] for a in args]
        compiled = compile_only(kernel, types, constants, architecture)
        used = gpu_resources.resources(compiled.asm["cubin"])
        spilled[kernel.__name__] = used["STACK"] + used["LOCAL"]

    monkeypatch.setattr(tiles, "launch", note)
    heads = np.ones((4, 8, 256, 64), np.float32)
    with np.errstate(all="ignore"):  # nothing is written to y
        tiles.backward(*heads, *tiles.forward(*heads[:3]))
    assert spilled == {"forward_kernel": 0, "queries_kernel": 0, "keys_kernel": 0}
    if architecture == 90:  # larger tiles do not fit
        monkeypatch.setattr(tiles, "B", 2 * tiles.B)
        tiles.forward(*heads[:3])
        assert spilled["forward_kernel"] > 0


# --- counts ---------------------------------------------------------------------------------------
class Counted(np.ndarray):
    """An array whose functions count the bytes of the arrays that they read and write."""

    moved = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **how):
        return self.call(getattr(ufunc, method), inputs, how)

    def __array_function__(self, function, types, inputs, how):
        return self.call(function, inputs, how)

    def call(self, function, inputs, how):
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        result = function(*plain, **how)
        Counted.moved += sum(x.nbytes for x in (*plain, result) if isinstance(x, np.ndarray))
        return result.view(Counted)


def test_numpy_moves_as_many_bytes_as_counted(monkeypatch):
    T, D = 20, 6
    q, k, v, g = np.ones((4, T, D), np.float32).view(Counted)
    monkeypatch.setattr(Counted, "moved", T * T)  # np.tri writes its booleans
    _, p = arrays.forward(q, k, v)
    assert Counted.moved == work(T, D)["forward", "NumPy"].bytes
    monkeypatch.setattr(Counted, "moved", 0)
    arrays.backward(q, k, v, g, p)
    assert Counted.moved == work(T, D)["backward", "NumPy"].bytes


class Number(float):
    """A number that counts multiplications by numbers."""

    multiplied = 0

    def __mul__(self, other):
        Number.multiplied += 1
        return Number(float(self) * float(other))

    __rmul__ = __mul__

    def __add__(self, other):
        return Number(float(self) + float(other))

    __radd__ = __add__

    def __sub__(self, other):
        return Number(float(self) - float(other))

    def __truediv__(self, other):
        return Number(float(self) / float(other))


def test_the_loops_multiply_as_often_as_counted(monkeypatch):
    T, D = 7, 3
    q, k, v, g = [[[Number(1)] * D for _ in range(T)] for _ in range(4)]
    monkeypatch.setattr(Number, "multiplied", 0)
    loops.forward(q, k, v)
    assert 2 * Number.multiplied == work(T, D)["forward", "loops"].flops
    monkeypatch.setattr(Number, "multiplied", 0)
    loops.backward(q, k, v, g)
    of_softmax = 2 * T * (T + 1) // 2  # p gp, and p (gp - delta)
    assert 2 * (Number.multiplied - of_softmax) == work(T, D)["backward", "loops"].flops


def test_a_tile_of_one_is_the_compiled_loop_and_a_tile_of_all_reads_everything_once():
    T, D = 64, 16
    assert work(T, D, tile=1)["forward", "Triton"] == work(T, D)["forward", "compiled"]
    assert work(T, D, tile=T)["forward", "Triton"].flops == work(T, D)["forward", "NumPy"].flops
    once = work(T, D)["forward", "least"].bytes + FLOAT * T  # and lse
    assert work(T, D, tile=T)["forward", "Triton"].bytes == once


def test_the_counts_are_for_the_tile_of_the_kernels():
    pytest.importorskip("triton", reason="install minigrad[triton]")
    from benchmarks.attention import tiles

    assert tiles.B == TILE


# --- the command ----------------------------------------------------------------------------------
SMALL = ["--length", "8", "--width", "4", "--heads", "2", "--longer", "5", "9", "--turns", "1"]


def test_the_command_prints_and_records_every_form(tmp_path, capsys):
    out = tmp_path / "forms.json"
    assert benchmark.main([*SMALL, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert capsys.readouterr().out.splitlines() == tables.lines(found)
    timed = {(row["pass"], row["form"]) for row in found["rows"] if row.get("ms")}
    assert timed >= {(which, form) for which in tables.PASSES for form in benchmark.FORWARD}
    assert [row["T"] for row in found["longer"]] == [5, 9]


def test_a_form_that_is_wrong_is_not_timed(monkeypatch, capsys):
    """Here the gradients of q and k are exchanged."""
    right = benchmark.BACKWARD["NumPy"]
    monkeypatch.setitem(
        benchmark.BACKWARD, "NumPy", lambda *args: [right(*args)[i] for i in (1, 0, 2)]
    )
    with pytest.raises(SystemExit) as stop:
        benchmark.main(SMALL)
    assert stop.value.code == 1
    assert "NumPy: the numbers are not those of the plain op" in capsys.readouterr().err


def test_sizes_that_cannot_be_are_refused(capsys):
    for flag in ("--length", "--longer", "--turns"):
        with pytest.raises(SystemExit) as stop:
            benchmark.main([*SMALL, flag, "0"])
        assert stop.value.code == 2
        assert "expected sizes and turns of at least 1, got 0" in capsys.readouterr().err
