"""What the source may not do: import against the arrows, and read code from data."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "minigrad": {"minigrad", "kernels"},  # kernels where they are switched on
    "kernels": {"minigrad", "kernels"},
    "models": {"minigrad", "models"},
    "experiments": {"minigrad", "models", "kernels", "experiments"},
    "exercises": {"minigrad", "experiments", "exercises"},
    "reference": {"minigrad", "experiments", "reference"},  # whose ops have cases too
    "benchmarks": {"minigrad", "models", "kernels", "experiments", "reference", "benchmarks"},
    "website": {"minigrad", "website"},
}
TESTS = {
    str(path.relative_to(ROOT / "tests")): path
    for path in sorted((ROOT / "tests").rglob("*.py"))
    if "helpers" not in path.parts
}
MODULES = {"tests", *(path.stem for path in TESTS.values())}
HELPERS = {path.stem for path in (ROOT / "tests" / "helpers").iterdir()}


def imported(path):
    """The first names of all modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_what_is_below_them(package):
    files = [*(ROOT / package).rglob("*.py")]
    assert files
    ours = {*MAY_IMPORT, *MODULES, *HELPERS}
    for path in files:
        beyond = (ours & {*imported(path)}) - MAY_IMPORT[package]
        assert not beyond, f"{path.relative_to(ROOT)} imports {', '.join(sorted(beyond))}"


@pytest.mark.parametrize("name", TESTS)
def test_test_modules_do_not_import_each_other(name):
    beyond = MODULES & {*imported(TESTS[name])}
    assert not beyond, f"tests/{name} imports {', '.join(sorted(beyond))}"


@pytest.mark.parametrize("package", ["minigrad", "kernels", "models", "experiments"])
def test_pytorch_and_pytest_are_no_part_of_what_is_tested(package):
    for path in (ROOT / package).rglob("*.py"):
        assert not {"torch", "pytest"} & {*imported(path)}, path.relative_to(ROOT)


def test_no_code_is_ever_read_from_data():
    """No pickle, eval, exec or shell in any module; strings and comments may name them."""
    for folder in ("minigrad", "experiments", "models", "kernels"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            tokens = tokenize.generate_tokens(io.StringIO(source).readline)
            code = " ".join(t.string for t in tokens if t.type in (tokenize.NAME, tokenize.OP))
            found = re.search(r"\bpickle\b|(?<!\. )(?<!def )\b(eval|exec) \(|shell = True", code)
            assert not found, f"{path.name}: {found}"
