"""Exercises are living: every one can be solved with the library's lines, and only so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exercises import check as checking
from exercises import workbook
from exercises.__main__ import main
from exercises.chapters import CHAPTERS, numbered
from exercises.check import Report, check
from exercises.cut import Function, find, open_holes
from exercises.exercise import Exercise
from minigrad.op import OPS

ROOT = Path(__file__).parent.parent
SOFTMAX, LINEAR, DIV, MEAN = 16, 9, 4, 8
EXERCISES = [pytest.param(n, e, id=f"{n}-{e.name}") for n, (_, e) in numbered().items()]
MISTAKES = [
    pytest.param(e, name, id=f"{n}-{name[:40]}")
    for n, (_, e) in numbered().items()
    for name in e.mistakes
]


def answer(folder: Path, exercise: Exercise, body: str) -> Report:
    """What is said of an answer that consists of this text below the imports."""
    path = folder / "answer.py"
    head = f"from __future__ import annotations\n\n{exercise.function.imports()}\n\n\n"
    path.write_text(head + body, encoding="utf-8")
    return check(exercise, path)


def wrong(report: Report) -> dict[str, str]:
    return {f.what: f.says for f in report.findings if not f.right}


# --- all exercises --------------------------------------------------------------------------------
def test_there_are_24_in_the_chapters_of_the_reading_path():
    headings = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8").split("\n## ")
    titles = [heading.split("\n")[0].partition(". ")[2] for heading in headings[1:]]
    assert [chapter.title for chapter in CHAPTERS] == titles[:8]
    assert len(numbered()) == 24


@pytest.mark.parametrize(("number", "exercise"), EXERCISES)
def test_a_page_has_holes_that_the_library_fills(number: int, exercise: Exercise, tmp_path: Path):
    chapter = numbered()[number][0]
    page = workbook.page(number, chapter, exercise)
    path = tmp_path / "page.py"
    path.write_text(page, encoding="utf-8")
    todo = check(exercise, path)
    holes = open_holes(page)
    assert todo.state == "to do"
    assert todo.findings[0].says.startswith(f"{len(holes)} place")
    assert str(holes[-1]) in todo.findings[0].says
    assert len(holes) >= len(exercise.cuts)
    solved = answer(tmp_path, exercise, exercise.function.text)
    assert wrong(solved) == {}
    assert solved.state == "solved"
    assert any(f.what == "run" for f in solved.findings) == (number in (18, 21, 24))


@pytest.mark.parametrize(("exercise", "name"), MISTAKES)
def test_a_known_mistake_is_named(exercise: Exercise, name: str, tmp_path: Path):
    function = exercise.function
    report = answer(tmp_path, exercise, function.with_mistake(exercise.mistakes[name]))
    assert report.state == "not yet"
    assert name in wrong(report).values()


def test_an_op_of_an_exercise_is_none_of_the_library(tmp_path: Path):
    before = dict(OPS)
    exercise = numbered()[SOFTMAX][1]
    answer(tmp_path, exercise, exercise.function.text)
    assert before == OPS


def test_the_library_is_itself_again_after_a_check(tmp_path: Path):
    exercise = numbered()[24][1]
    before = exercise.function.made_from  # the module's own op is looked at, not the copy
    op = vars(exercise.function.module)["scaled_dot_product_attention"].op
    body, run = op.body, op.run
    answer(
        tmp_path, exercise, exercise.function.with_mistake(next(iter(exercise.mistakes.values())))
    )
    assert (op.body, op.run) == (body, run)
    assert before == exercise.function.made_from


# --- mistakes of any op ---------------------------------------------------------------------------
RULE = "lambda g: y * (g - np.sum(g * y, axis=axis, keepdims=True))"


@pytest.mark.parametrize(
    ("number", "right", "new", "what", "says"),
    [
        (SOFTMAX, RULE, RULE.replace("y * (", "-y * ("), "gradient of x", "sign"),
        (SOFTMAX, RULE, RULE.replace("y * (", "2 * y * ("), "gradient of x", "it is 2 times"),
        (SOFTMAX, RULE, "lambda g: g", "gradient of x", "passed on as it is"),
        (SOFTMAX, RULE, "lambda g: 0.0 * y", "gradient of x", "0 everywhere"),
        (SOFTMAX, RULE, RULE.replace("y * (", "(") + " / g", "pullback", "a division by it"),
        (
            SOFTMAX,
            RULE,
            "lambda g: np.multiply(np.subtract(g, np.sum(g * y, -1, keepdims=True), out=g), y)",
            "pullback",
            "changes the gradient that it is given",
        ),
        (
            SOFTMAX,
            RULE,
            "lambda g: np.multiply(y, g - np.sum(g * y, axis=axis, keepdims=True), out=y)",
            "pullback",
            "called twice",
        ),
        (MEAN, "g / builtins.max(n, 1)", "np.ones_like(g) / n", "gradient of x", "g is missing"),
        (
            MEAN,
            "np.broadcast_to(expand(g / builtins.max(n, 1), shape, axes), shape)",
            "expand(g / n, shape, axes)",
            "gradient of x",
            "not repeated",
        ),
        (
            LINEAR,
            "product(mT(shaped(g, flat)), rows)",
            "product(mT(rows), shaped(g, flat))",
            "gradient of weight",
            "transposed",
        ),
        (
            LINEAR,
            "column_sum(shaped(g, flat))",
            "shaped(g, flat)",
            "gradient of bias",
            "broadcast axis",
        ),
        (
            LINEAR,
            "column_sum(shaped(g, flat))",
            "shaped(g, flat).mean(axis=0)",
            "gradient of bias",
            "not their mean",
        ),
        (DIV, "y = a / b", "y = b / a", "forward", "wrong"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 24 else "",
)
def test_what_turns_an_answer_into_the_right_one_is_said(
    number: int, right: str, new: str, what: str, says: str, tmp_path: Path
):
    exercise = numbered()[number][1]
    report = answer(tmp_path, exercise, exercise.function.with_mistake([(right, new)]))
    assert says in wrong(report)[what]


def test_a_pullback_that_works_on_arrays_only_has_no_second_order(tmp_path: Path):
    exercise = numbered()[13][1]
    rule = "lambda g: -0.5 * g * y * y * y"
    text = exercise.function.with_mistake(
        [(rule, "lambda g: np.multiply(-0.5 * g, np.asarray(y)**3)")]
    )
    assert set(wrong(answer(tmp_path, exercise, text))) == {"second order"}


def test_visiting_every_path_is_slow(tmp_path: Path):
    exercise = numbered()[1][1]
    text = exercise.function.with_mistake([(" and parent not in seen", "")])
    assert "visited many times" in wrong(answer(tmp_path, exercise, text))["speed"]


# --- answers that do not run ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def softmax(x:\n", "'(' was never closed, line 1"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError (line 1)"),
        ("y = 1\n", "NameError: the file defines no 'softmax'"),
        ("def softmax(x, axis=-1):\n    return x, lambda g: g[1, 2, 3]\n", "IndexError (line 2)"),
        ("def softmax(x, axis=-1):\n    return x\n", "the value and the pullback"),
        ("def softmax(x, axis=-1):\n    pass\n", "nothing is returned"),
        ("def softmax(x, axis=-1):\n    return x, x\n", "a pullback is a function of g"),
        ("import sys\nsys.exit(0)\n", "SystemExit (line 2)"),
    ],
)
def test_an_answer_that_does_not_run_is_told_in_a_line(text: str, says: str, tmp_path: Path):
    path = tmp_path / "answer.py"
    path.write_text(text, encoding="utf-8")
    report = check(numbered()[SOFTMAX][1], path)
    assert report.state == "not yet"
    assert says in next(iter(wrong(report).values()))


def test_a_loop_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checking, "LIMIT", 1)
    report = answer(
        tmp_path, numbered()[SOFTMAX][1], "def softmax(x, axis=-1):\n    while True: pass\n"
    )
    assert "stopped after 1 s" in wrong(report)["run"]


# --- places in the source -------------------------------------------------------------------------
def test_a_place_that_is_gone_is_an_error():
    softmax = find("minigrad/ops/nn.py: softmax")
    with pytest.raises(LookupError, match="softmax has no 'total ='"):
        softmax.with_holes(["total ="], "says")
    with pytest.raises(LookupError, match="to change"):
        softmax.with_mistake([("no such text", "")])
    with pytest.raises(LookupError, match=r"minigrad/ops/nn.py has no missing"):
        find("minigrad/ops/nn.py: missing")


def test_holes_take_whole_statements_and_expressions():
    text = 'def f(x):\n    """é"""\n    a = x\n    b = 2\n    for i in a:\n        b += i\n'
    text += "    return a, b\n"
    f = Function(sys.modules[__name__], "f", text)
    assert f.with_holes(["a = ... b = 2", "b += "], "new") == (
        'def f(x):\n    """new"""\n    ...  # your lines\n    for i in a:\n'
        "        ...  # your lines\n    return a, b\n"
    )
    assert f.with_holes(["pullback"], "new").endswith("return a, ...\n")
    assert open_holes("x: tuple[int, ...] = y[..., 0]\nz = ...\n") == [2]


# --- the command ----------------------------------------------------------------------------------
def test_a_workbook_keeps_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "book"
    assert main(["start", str(folder)]) == 0
    assert "25 new files of 25" in capsys.readouterr().out
    path = workbook.path_of(folder, SOFTMAX, numbered()[SOFTMAX][1])
    function = numbered()[SOFTMAX][1].function
    path.write_text(f"{function.imports()}\n\n\n{function.text}", encoding="utf-8")
    (folder / "README.md").unlink()
    assert main(["start", str(folder)]) == 0
    assert "1 new files of 25" in capsys.readouterr().out
    assert main(["check", "16", "--folder", str(folder)]) == 0
    assert "right: forward; gradient of x; forward along axis 0" in capsys.readouterr().out
    assert main(["check", "16", "7", "--folder", str(folder)]) == 1
    assert (
        "7  unbroadcast                    to do: 1 place is open (line" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["check", "25"], "expected an exercise from 1 to 24, got 25"),
        (["check", "--folder", "no/such"], "python -m exercises start no/such makes it"),
        (["hint", "1", "4"], "exercise 1 has hints 1 to 3, got 4"),
        (["start", __file__], "is a file, and no folder"),
    ],
)
def test_a_wrong_command_is_told_in_a_line(
    args: list[str], says: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err.strip().splitlines()[-1]


def test_hints_and_solutions_are_printed(capsys: pytest.CaptureFixture[str]):
    assert main(["hint", "16", "2"]) == 0
    assert capsys.readouterr().out.startswith("2 of 3: dy_i/dx_j = y_i")
    assert main(["solve", "16"]) == 0
    assert numbered()[SOFTMAX][1].function.text in capsys.readouterr().out


def test_a_student_needs_numpy_alone():
    code = (
        "import sys, exercises.__main__\n"
        "others = {'numba', 'tyro', 'matplotlib', 'safetensors', 'filelock', 'tqdm'}\n"
        "found = others & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# --- what a newcomer stumbled over ----------------------------------------------------------------
def test_an_array_that_was_to_be_written_to_and_was_not_is_named(tmp_path: Path):
    adam = numbered()[21][1]
    change = ("np.multiply(m, b1, out=m)", "m = m * b1")
    found = wrong(answer(tmp_path, adam, adam.function.with_mistake([change])))
    assert found["m"] == "it is as it was before: write into the array, a[...] = ..."


def test_a_right_answer_that_is_too_slow_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checking, "LIMIT", 1)
    exercise = numbered()[SOFTMAX][1]
    slow = RULE.replace("y * (", "(time.sleep(0.6) if x.size > 1000 else None) or y * (")
    text = exercise.function.with_mistake([(RULE, slow)])
    report = answer(tmp_path, exercise, "import time\n" + text)
    assert wrong(report).keys() == {"speed"}
    assert wrong(report)["speed"].startswith("right, but too slow: stopped after 1 s")


def test_numbers_that_look_alike_are_told_apart(tmp_path: Path):
    exercise = numbered()[5][1]
    close = exercise.function.with_mistake([("g * y *", "(1.0 + 1e-8) * g * y *")])
    says = wrong(answer(tmp_path, exercise, close))["gradient of x"]
    assert "1.00000001 times" in says


def test_a_page_lists_what_its_lines_call(tmp_path: Path):
    page = workbook.page(9, numbered()[9][0], numbered()[9][1])
    assert "Given:" in page
    assert "shaped(x, shape)" in page
    assert "column_sum(" in page


def test_a_gradient_that_is_not_there_is_named(tmp_path: Path):
    exercise = numbered()[LINEAR][1]
    change = ("        lambda g: column_sum(shaped(g, flat)),\n", "        None,\n")
    found = wrong(answer(tmp_path, exercise, exercise.function.with_mistake([change])))
    assert found == {"gradient of bias": "there is none"}
