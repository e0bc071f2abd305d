"""Plants each classic mistake in a copy of the package and checks that its test then fails.

    python -m tests.classics.plant            all of them, about five minutes
    python -m tests.classics.plant TEXT       those whose name holds TEXT

Each mistake is one edit: a piece of right code, found exactly once in its file, and the wrong code in its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = Path("src/miaobi")


@dataclass(frozen=True)
class Mistake:
    """``right`` in ``file`` becomes ``wrong``; ``test`` (relative to tests/classics) must then fail."""

    name: str
    file: str
    right: str
    wrong: str
    test: str


def main(words: list[str]) -> int:
    """Plant and report; the exit status is the number of mistakes that no test caught."""
    from tests.classics.mistakes import MISTAKES

    chosen = [mistake for mistake in MISTAKES if all(word in mistake.name for word in words)]
    missed = [mistake.name for mistake in chosen if not _caught(mistake)]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} planted mistakes are caught", *missed, sep="\n  missed: ")
    return len(missed)


def planted(mistake: Mistake) -> str:
    """The file's text with the mistake in it.

    Raises:
        ValueError: the right code is not there exactly once.
    """
    text = (ROOT / PACKAGE / mistake.file).read_text(encoding="utf-8")
    if text.count(mistake.right) != 1:
        raise ValueError(f"{mistake.name}: the right code stands {text.count(mistake.right)} times in {mistake.file}")
    return text.replace(mistake.right, mistake.wrong)


def _caught(mistake: Mistake) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(ROOT / "pyproject.toml", copy)
        (copy / PACKAGE / mistake.file).write_text(planted(mistake), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-rf",
            "-p",
            "no:cacheprovider",
            f"tests/classics/{mistake.test}",
        ]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    caught = done.returncode == 1 and "FAILED" in done.stdout
    reason = next((line for line in done.stdout.splitlines() if line.startswith("E ")), done.stdout[-300:])
    print(f"{'caught' if caught else 'MISSED'}  {mistake.name}: {reason.strip()[:110]}", flush=True)
    return caught


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
