"""The folder that a student works in: a file for each exercise, and a page on how to go on."""

from __future__ import annotations

import textwrap
from pathlib import Path

from exercises.chapters import CHAPTERS, numbered
from exercises.exercise import Chapter, Exercise
from minigrad.files import write_file

WIDTH = 98
FOLDER = Path("workbook")  # unless another one is named


def check_command(folder: Path, number: int | None = None) -> str:
    """What to type to check one exercise, or all."""
    words = ["python -m exercises check", str(number or ""), f"--folder {folder}"]
    return " ".join(filter(None, words if folder != FOLDER else words[:2]))


def path_of(folder: Path, number: int, exercise: Exercise) -> Path:
    return folder / f"{number:02}_{exercise.name}.py"


def start(folder: Path) -> list[Path]:
    """Write the files that the folder does not have yet; returns them. What is there stays."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, and no folder for a workbook")
    texts = {folder / "README.md": front_page(folder)}
    for number, (chapter, exercise) in numbered().items():
        texts[path_of(folder, number, exercise)] = page(number, chapter, exercise, folder)
    new = [path for path in texts if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        write_file(path, texts[path].encode())
    return new


def page(number: int, chapter: Chapter, exercise: Exercise, folder: Path = FOLDER) -> str:
    """The file of one exercise."""
    place = CHAPTERS.index(chapter) + 1
    task = "\n\n".join(
        part if part.startswith("    ") else textwrap.fill(" ".join(part.split()), WIDTH)
        for part in textwrap.dedent(exercise.task).strip().split("\n\n")
    )
    function = exercise.function
    given = [
        textwrap.fill(line, WIDTH, subsequent_indent="    ")
        for line in function.given(exercise.cuts)
    ]
    if given:
        task += "\n\nGiven:\n\n" + "\n".join(given)
    head = f'''"""{number}. {exercise.name}

Chapter {place} of docs/reading.md: {chapter.title}
Cut from {exercise.source}

{task}

    {check_command(folder, number)}
    python -m exercises hint {number}
"""
'''
    body = function.with_holes(exercise.cuts, exercise.says)
    return f"{head}\nfrom __future__ import annotations\n\n{function.imports()}\n\n\n{body}"


def front_page(folder: Path) -> str:
    """How to go on, and a list of the exercises."""
    commands = {
        check_command(folder): "all of them",
        check_command(folder, 4): "one: what is right, what is wrong and why",
        "python -m exercises hint 4": "a hint; hint 4 2 is the second",
        "python -m exercises solve 4": "the library's own lines",
    }
    width = max(map(len, commands))
    lines = [
        "# Exercises from minigrad",
        "",
        "Each file is a function of the library with its decisive lines taken out: `...` stands in",
        "their place. Read the chapter of docs/reading.md, derive on paper, then write the lines.",
        "",
        "```sh",
        *(f"{command:{width}}  # {what}" for command, what in commands.items()),
        "```",
        "",
    ]
    for place, chapter in enumerate(CHAPTERS, 1):
        lines += [f"## {place}. {chapter.title}", ""]
        for number, (of, exercise) in numbered().items():
            if of is chapter:
                file = path_of(Path(), number, exercise)
                lines += [f"- [{number}. {exercise.name}]({file}), from `{exercise.source}`"]
        lines += [""]
    return "\n".join(lines)
