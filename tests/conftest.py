"""Settings for all tests: small arrays need one BLAS thread; random tests repeat exactly."""

import os
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy is imported

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

import minigrad as mg  # noqa: E402
from minigrad.op import OPS  # noqa: E402
from minigrad.protocols import NUMPY  # noqa: E402

HELPERS = Path(__file__).parent / "helpers"
names = (path.stem for path in HELPERS.iterdir())
# on the stub of a GPU, `gpu_stub` is there before pytest
pytest.register_assert_rewrite(*(name for name in names if name not in sys.modules))

hypothesis.settings.register_profile(
    "stable", derandomize=True, database=None, deadline=None, max_examples=60
)
hypothesis.settings.load_profile("stable")


@pytest.fixture(autouse=True)
def fresh_random_state():
    mg.random.seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def refused(capsys):
    """Runs a command that has a mistake in it; the one line that it says, with exit status 2."""

    def run(command, args):
        with pytest.raises(SystemExit) as stop:
            command([str(arg) for arg in args])
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        return said

    return run


@pytest.fixture
def registry():
    """The lists of ops as they were before: an op of a test is no op of the library."""
    kept = [(registered, dict(registered)) for registered in (OPS, NUMPY)]
    yield
    for registered, before in kept:
        registered.clear()
        registered.update(before)


# --- a toy report ---------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    """The records of a toy experiment, run once, and of one whose results break."""
    import toys

    return toys.make(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="session")
def toy_contents(toy_folder):
    """What they come to."""
    import toys

    from experiments.report.report import read

    return read(toys.REPORT, toy_folder)


@pytest.fixture(scope="session")
def toy_page(toy_contents, tmp_path_factory):
    """The page of it."""
    pytest.importorskip("plotly", reason="the page needs plotly")
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    from experiments.report import page

    return page.write(toy_contents, tmp_path_factory.mktemp("page") / "report.html")
