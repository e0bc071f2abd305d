"""Other libraries, each in an environment of its own beside this file, so that their versions do not meet ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def environment(module: str, *packages: str) -> Path:
    """A Python that imports ``module``; ``packages`` are installed there, in order, where it does not yet."""
    python = HERE / ".venv" / "bin" / "python"
    probe = [str(python), "-c", f"import {module}"]
    if python.exists() and subprocess.run(probe, check=False, capture_output=True).returncode == 0:
        return python
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HERE / ".venv")], check=True, stdout=sys.stderr)
    for package in packages:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", package], check=True, stdout=sys.stderr)
    return python


class Peer:
    """A process that answers every line with a number: one run there."""

    def __init__(self, python: Path, script: str, *arguments: object) -> None:
        command: Sequence[str] = [str(python), str(HERE / script), *map(str, arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> int:
        """One run; the process sleeps in between."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("run", file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
