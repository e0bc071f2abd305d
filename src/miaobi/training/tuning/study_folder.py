"""A study's folder: what is where, and who works on what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import miaobi
from miaobi import locks
from miaobi.errors import CorruptFile, RunFolderError
from miaobi.recipe import Recipe
from miaobi.training.run_folder import RunFolder, write_text
from miaobi.training.tuning.design import Design

FORMAT = 1
"""Version of the folder's layout; a newer one is refused."""


@dataclass(frozen=True)
class StudyFolder:
    """Where the parts of a study are."""

    root: Path

    @property
    def design(self) -> Path:
        """What the study is of."""
        return self.root / "study.json"

    @property
    def journal(self) -> Path:
        """Every trial's parameters and figures, one JSON object a line."""
        return self.root / "journal.jsonl"

    @property
    def best(self) -> Path:
        """The recipe with the best trial's values."""
        return self.root / "best.yaml"

    @property
    def report(self) -> Path:
        """The page that shows the study."""
        return self.root / "report.html"

    @property
    def plots(self) -> Path:
        """Pictures of the study."""
        return self.root / "plots"

    def trial(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.root / "trials" / f"{number:04d}"

    def confirmation(self, number: int, seed: int) -> Path:
        """The run folder of a trial's recipe with another seed."""
        return self.root / "confirm" / f"{number:04d}-seed{seed}"

    def open(self, recipe: Recipe, make: Callable[[Recipe], Design]) -> Design:
        """The study's design: the one that is there, or, by the first process that comes, a new one.

        Raises:
            RunFolderError: the folder is a run's, of another recipe, or of a newer version.
        """
        with self.held():
            if not self.design.exists():
                if RunFolder(self.root).used:
                    raise RunFolderError(
                        "the folder is a run's", given=str(self.root), cure="choose another with --study"
                    )
                design = make(recipe)
                facts = {"format": FORMAT, "miaobi": miaobi.__version__, **design.to_json()}
                write_text(self.design, json.dumps(facts, indent=1, ensure_ascii=False))
        design = self._read()
        if changes := design.refuse_another(recipe):
            raise RunFolderError(
                "the recipe differs from the one that this study is of",
                given="; ".join(changes),
                allowed="other values of tune.trials and tune.confirm only",
                cure="go on with the same recipe, or start another study with --study",
            )
        return design

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else asks for work meanwhile; a process that was killed in here holds nobody up."""
        lock = locks.take(self.root / "study.lock", wait=True)
        try:
            yield
        finally:
            lock.release()

    def lease(self, run: Path) -> locks.Lock | None:
        """The work in ``run`` until its ``release``; ``None`` where another process has it."""
        return locks.take(run.with_name(f"{run.name}.lock"), wait=False)

    def _read(self) -> Design:
        try:
            data = json.loads(self.design.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CorruptFile(
                f"{self.design} cannot be read: {error}", cure="start another study with --study"
            ) from None
        if isinstance(data, dict) and data.get("format", 0) > FORMAT:
            raise RunFolderError("the study was written by a newer version", given=str(self.root), cure="update miaobi")
        return Design.from_json(data, str(self.design))
