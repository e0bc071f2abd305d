"""What a person sees while a run goes on, on standard error."""

from __future__ import annotations

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Reporter:
    """Talks on standard error: a bar on a terminal, a line now and then elsewhere.

    Args:
        shown: whether to talk at all.
    """

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._began = (0, 0.0)
        self._total = 0
        self._held_out = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def silence(self) -> None:
        """Stop talking: another process does."""
        self._shown = False

    def say(self, text: str) -> None:
        """A line."""
        if self._shown:
            self._console.print(text, markup=False)

    def start(self, done: int, total: int) -> None:
        """The first of ``total`` steps is about to run; ``done`` of them are done already."""
        self._began, self._total = (done, time.monotonic()), total
        if self._shown and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
                refresh_per_second=2,
            )
            self._bar.start()
            self._bar.add_task("training", total=total, completed=done, rate="", figures="")

    def update(self, step: int, loss: float) -> None:
        """``step`` steps are done."""
        if self._bar is not None:
            figures, rate = f"loss {loss:.4g}{self._held_out}", f"{self._rate(step):.3g} steps/s"
            self._bar.update(self._bar.task_ids[0], completed=step, rate=rate, figures=figures)

    def evaluated(self, step: int, figure: str, value: float, best: bool) -> None:
        """A held-out figure."""
        self._held_out = f", {figure} {value:.4g}{' (best)' if best else ''}"
        if self._bar is None and (rate := self._rate(step)):
            left = duration((self._total - step) / rate)
            self.say(f"step {step} of {self._total}{self._held_out}, {rate:.3g} steps/s, {left} left")

    def _rate(self, step: int) -> float:
        done, began = self._began
        return (step - done) / max(1e-9, time.monotonic() - began)


def duration(seconds: float) -> str:
    """``1 h 02 min``, ``3 min 20 s`` or ``4.2 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 60:
        return f"{int(minutes)} min {int(seconds % 60):02d} s"
    return f"{int(minutes // 60)} h {int(minutes % 60):02d} min"
