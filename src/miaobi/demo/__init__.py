"""The README's first command: three small models of real poems, pictures and music, and one page that shows them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miaobi.demo.chapters import CHAPTERS, Chapter, Shown, show
from miaobi.demo.page import render
from miaobi.errors import FetchFailed, SaveFailed
from miaobi.evaluation import extractors

__all__ = ["Demo", "demo"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Demo:
    """What a demo made.

    Attributes:
        page: the self-contained page.
        shown: a chapter each, in order.
        replaced: what could not be shown as planned, and why.
        next: commands to try next.
        seconds: wall time.
    """

    page: Path
    shown: list[Shown]
    replaced: list[str]
    next: list[str]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        chapters = [shown.to_json() for shown in self.shown]
        facts = {"page": str(self.page), "seconds": round(self.seconds, 1)}
        return {**facts, "chapters": chapters, "replaced": self.replaced, "next": self.next}

    def text(self) -> str:
        """A few samples, the scores, and what to try next."""
        lines: list[str] = []
        for shown in self.shown:
            lines += [shown.title, *shown.excerpt(), *(f"  {line}" for line in shown.score_lines()), ""]
        lines += [*self.replaced, f"All of it on one page ({self.seconds:.0f} s): {self.page}", "", "Try next:"]
        return "\n".join([*lines, *(f"  {command}" for command in self.next)])


def demo(out: Path | str = "demo", *, quick: bool = False, progress: bool = True) -> Demo:
    """Train three small models on real data, sample and score them, and write ``report.html``.

    A chapter whose data no registry sends falls back to data that is on every machine; music, which has none, is left
    out. An interrupted demo goes on where it stopped.

    Args:
        out: folder for the runs and the page.
        quick: under two minutes in place of about five; weaker models.
        progress: bars and notes on standard error.

    Raises:
        MissingExtra: no image features (``pip install 'miaobi[features]'``).
        SaveFailed: the page could not be written.
    """
    began, folder = time.monotonic(), Path(out)
    say: Say = (lambda text: print(text, file=sys.stderr, flush=True)) if progress else (lambda text: None)  # noqa: T201
    extractors.create("efficientnet_lite0")  # an absent extra should stop the demo now, not after its first model
    shown: list[Shown] = []
    replaced: list[str] = []
    for number, chapter in enumerate(CHAPTERS, 1):
        say(f"\n{number} of {len(CHAPTERS)}: {chapter.title}")
        made = _show_or_replace(chapter, folder, quick, progress, replaced, say)
        if made is not None:
            shown.append(made)
    finished = Demo(folder / "report.html", shown, replaced, _next(shown), time.monotonic() - began)
    _write(render(shown, replaced, finished.next, quick=quick), finished.page)
    return finished


def _show_or_replace(
    chapter: Chapter, folder: Path, quick: bool, progress: bool, replaced: list[str], say: Say
) -> Shown | None:
    try:
        return show(chapter, folder, quick=quick, progress=progress)
    except FetchFailed as error:
        stand_in = chapter.stand_in
        instead = f"{stand_in.title} in its place" if stand_in else "it is left out"
        replaced.append(f"{chapter.title}: the data could not be fetched ({error.what}); {instead}.")
        say(replaced[-1])
        return show(stand_in, folder, quick=quick, progress=progress) if stand_in else None


def _next(shown: list[Shown]) -> list[str]:
    first = shown[0]
    conditions = "".join(f" --condition {name}={value}" for name, value in first.samples[-1].conditions.items())
    return [
        f"miaobi generate {first.run}{conditions} -n 3 --control temperature=0.8",
        f"miaobi train {shown[-1].chapter.longer}",
        "miaobi train demo/lines --set data.source=FOLDER_OF_TEXT_FILES --run runs/mine",
    ]


def _write(text: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SaveFailed(
            f"could not write {path}: {error}", cure="free some disk space, or choose another --out"
        ) from None
