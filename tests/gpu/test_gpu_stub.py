"""The engine, the experiments and the benchmarks on CuPy itself, without a GPU: see `gpu_stub`.

The stub has to be there before CuPy is imported, so everything runs in processes of its own: the
tests in the files `stub_*.py` beside this one, and whole commands.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_stub.build import HERE, missing
from gpu_stub.run import run

TESTS = Path(__file__).parent

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.mark.parametrize("file", sorted(path.name for path in TESTS.glob("stub_*.py")))
def test_on_the_stub(file):
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS / file)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_one_of_several_processes_compiles_the_stub(tmp_path):
    code = "import sys, gpu_stub.build as b; b.CACHE = b.Path(sys.argv[1]); print(b.build())"
    command = [sys.executable, "-c", code, tmp_path / "cache"]
    both = [
        subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    first, second = (process.communicate()[0].strip() for process in both)
    assert first == second
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"lock", Path(first).name}
    assert Path(first, "libcuda.so.1").exists()


# --- commands -------------------------------------------------------------------------------------
MODES = {
    "plain": ["--no-kernels", "--seeds", "0"],
    "kernels": ["--seeds", "0", "--launcher", "processes"],
    "replicas": ["--no-kernels", "--replicas", "--seeds", "0", "1"],
    "kernels and replicas": ["--replicas", "--seeds", "0", "1"],
}


@pytest.mark.parametrize("mode", MODES)
def test_the_sanity_experiment(mode, tmp_path):
    """130 steps of both models by the command of the README; recorded where there are kernels."""
    out, log = tmp_path / "out", tmp_path / "log"
    log.mkdir()
    steps = "--scale", "small", "--steps", "130", "--out", out
    done = run("-m", "experiments.sanity", "--device", "cuda", *steps, *MODES[mode], log=log)
    assert done.returncode == 0, done.stderr
    metrics = [*out.glob("*/metrics.jsonl")]
    assert len(metrics) == (4 if "replicas" in mode else 2)
    for path in metrics:
        assert json.loads(path.read_text().splitlines()[-1])["step"] == 130
    processes = [json.loads(path.read_text()) for path in log.iterdir()]
    assert not [mistake for process in processes for mistake in process["mistakes"]]
    replays = sum(process["launches"].get("cudaGraphLaunch", 0) for process in processes)
    # of each model all steps but two, and some by which the time was estimated
    assert 2 * 128 <= replays <= 2 * 130 if "kernels" in mode else replays == 0


def test_the_gpu_check_runs_its_groups_in_processes(tmp_path):
    """Two of them; `stub_gpu_check.py` has all."""
    out = tmp_path / "check.json"
    done = run("-m", "benchmarks.gpu", "--only", "memory", "short", "--out", out)
    rows = json.loads(out.read_text())["rows"]
    assert {row["group"] for row in rows} == {"memory", "short"}
    assert not [row for row in rows if row["what"] == "the group"], done.stderr
    assert all(row["ok"] for row in rows if "launches" in row["what"])


def test_the_tiles_of_attention_are_launched():
    """Of docs/attention.md; what they should compute is not there."""
    done = run("-m", "benchmarks.attention.tiles")
    assert done.stdout.startswith("on the GPU:\ny "), done.stderr
    assert done.stdout.count("False") == 8


# --- environments in which something is missing ---------------------------------------------------
def refused(*command, **how):
    """The one line on stderr of a command that ends with status 2."""
    done = run(*command, **how)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"python -m {command[1]}: error: ")
    return line.split(": error: ")[1]


SANITY = ("-m", "experiments.sanity", "--device", "cuda", "--out", "nowhere")
DEVICE = ("-c", "from minigrad import device; print(device.available())")


@pytest.mark.parametrize(
    ("hidden", "named"),
    [("nvrtc", "NVRTC"), ("cublas", "cuBLAS"), ("nvrtc cublas", "NVRTC and cuBLAS")],
)
def test_a_driver_without_the_libraries_of_cuda(hidden, named):
    """As after `pip install cupy-cuda12x`, without [ctk]."""
    wanted = (
        f"device cuda: there is a GPU, but CuPy cannot load {named} of CUDA; "
        f"install minigrad[cuda12]"
    )
    assert refused(*SANITY, GPU_STUB_HIDDEN=hidden) == wanted
    looked = run(*DEVICE, GPU_STUB_HIDDEN=hidden)
    assert (looked.stdout, looked.stderr) == ("False\n", f"minigrad: {wanted}\n")


def test_the_gpu_check_says_it_too():
    line = refused("-m", "benchmarks.gpu", GPU_STUB_HIDDEN="cublas")
    assert "CuPy cannot load cuBLAS of CUDA" in line


def test_an_old_cupy():
    line = refused(*SANITY, GPU_STUB_CUPY="13.6.0")
    assert line == (
        "device cuda needs CuPy 14 or newer, this is 13.6.0: "
        "install minigrad[cuda12] or minigrad[cuda13]"
    )


def test_two_packages_of_cupy_are_told_of_and_used(tmp_path):
    about = tmp_path / "cupy_cuda13x-14.2.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: cupy-cuda13x\nVersion: 14.2.0\n")
    looked = run(*DEVICE, path=[tmp_path])
    assert looked.stdout == "True\n"
    (line,) = looked.stderr.splitlines()
    assert line.startswith(
        "minigrad: cupy-cuda12x and cupy-cuda13x are installed over each other; uninstall all of"
    )
