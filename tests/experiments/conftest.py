"""Programs of the tests of experiments end with the test that started them."""

import pytest
from programs import Program


@pytest.fixture
def start(tmp_path_factory):
    """Starts a Python with such arguments; when the test ends, so does all that is left of it."""
    programs = []

    def start(*args):
        folder = tmp_path_factory.mktemp("program")
        programs.append(Program(args, folder / "stderr"))
        return programs[-1]

    yield start
    for program in programs:
        program.kill_all()
