"""Exercises cut from the library.

    python -m exercises start FOLDER           write a workbook
    python -m exercises check 7                check one answer, or several, or all
    python -m exercises hint 7                 a hint; hint 7 2: the second
    python -m exercises solve 7                the library's own lines

Needs NumPy and nothing else. A workbook is written to, and read from, the folder `workbook` unless
another one is named.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

INDENT = {"initial_indent": "     ", "subsequent_indent": "       "}

for library in ("OPENBLAS", "MKL", "OMP"):  # read by NumPy's BLAS when it is loaded, below
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # products here are too small for two

from exercises import workbook  # noqa: E402
from exercises.chapters import numbered  # noqa: E402
from exercises.check import Report, check  # noqa: E402
from exercises.workbook import FOLDER  # noqa: E402


def main(args: Sequence[str] | None = None) -> int:
    """0 if all that was checked is solved, else 1; 2 for a wrong command."""
    about, _, usage = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m exercises",
        description=about,
        epilog=textwrap.dedent(usage),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    start = commands.add_parser("start", help="write a workbook; files that are there stay")
    start.add_argument("folder", type=Path, nargs="?", default=FOLDER, metavar="FOLDER")
    checking = commands.add_parser("check", help="say what is right, and what is wrong by name")
    checking.add_argument("numbers", type=int, nargs="*", metavar="N", help="default: all")
    checking.add_argument("--folder", type=Path, default=FOLDER, help="of the workbook")
    hint = commands.add_parser("hint", help="print a hint")
    hint.add_argument("number", type=int, metavar="N")
    hint.add_argument("step", type=int, nargs="?", default=1, help="1 is the least (default)")
    solve = commands.add_parser("solve", help="print the library's own lines")
    solve.add_argument("number", type=int, metavar="N")
    chosen = parser.parse_args(args)
    numbers = getattr(chosen, "numbers", None) or [getattr(chosen, "number", 1)]
    if unknown := [n for n in numbers if n not in numbered()]:
        parser.error(f"expected an exercise from 1 to {len(numbered())}, got {unknown[0]}")
    try:
        if chosen.command == "start":
            return write(chosen.folder)
        if chosen.command == "check":
            return report(chosen.folder, chosen.numbers)
        return tell(chosen.number, chosen.step if chosen.command == "hint" else None)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))


def write(folder: Path) -> int:
    new = workbook.start(folder)
    print(
        f"{folder}: {len(new)} new files of {len(numbered()) + 1}"
        if new
        else f"{folder}: all there"
    )
    print(f"Begin with {workbook.path_of(folder, 1, numbered()[1][1])}, then")
    print(f"    {workbook.check_command(folder, 1)}")
    return 0


def report(folder: Path, numbers: Sequence[int]) -> int:
    """Check the answers and print what was found."""
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {folder}; python -m exercises start {folder} makes it"
        )
    states = []
    chapter = None
    for number, (of, exercise) in numbered().items():
        if numbers and number not in numbers:
            continue
        if of is not chapter and not numbers:
            print(("\n" if chapter else "") + of.title)
        chapter = of
        result = check(exercise, workbook.path_of(folder, number, exercise))
        states.append(result.state)
        show(number, exercise.name, result)
    solved = states.count("solved")
    if len(states) > 1:
        print(f"\n{solved} of {len(states)} solved")
    return int(solved < len(states))


def show(number: int, name: str, result: Report) -> None:
    """One answer: its state, and below it what is right, what is wrong, and how a program went."""
    if result.state == "to do":
        print(f"{number:>3}  {name:<30} to do: {result.findings[0].says}")
        return
    print(f"{number:>3}  {name:<30} {result.state}")
    right = [
        f"{f.what} {f.says}" if f.what == "speed" else f.what for f in result.findings if f.right
    ]
    lines = ["right: " + "; ".join(right)] if right else []
    for finding in result.findings:
        if not finding.right:
            lines.append(f"{finding.what}: {finding.says}")
        elif finding.what == "run":
            lines.append(finding.says)
    for line in lines:
        print(textwrap.fill(line, 100, **INDENT))


def tell(number: int, step: int | None) -> int:
    """Print a hint, or without a step the library's lines."""
    exercise = numbered()[number][1]
    if step is None:
        print(f"# {exercise.source}\n\n{exercise.function.text}", end="")
        return 0
    if not 1 <= step <= len(exercise.hints):
        raise ValueError(f"exercise {number} has hints 1 to {len(exercise.hints)}, got {step}")
    print(textwrap.fill(f"{step} of {len(exercise.hints)}: {exercise.hints[step - 1]}", 100))
    return 0


if __name__ == "__main__":
    sys.exit(main())
