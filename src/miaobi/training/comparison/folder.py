"""A comparison's folder: what was asked for and planned, the runs, and what each of them came to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miaobi import locks
from miaobi.errors import CorruptFile, InvalidRecipe, RunFolderError
from miaobi.training.run_folder import write_text

FORMAT = 1
"""Version of the folder's layout; a newer one is refused."""
_ABSENT = object()


@dataclass(frozen=True)
class Folder:
    """Where the parts of a comparison are."""

    root: Path

    @property
    def plan(self) -> Path:
        """What was asked for, and the steps that the budget came to."""
        return self.root / "compare.json"

    @property
    def page(self) -> Path:
        """The page that shows everything."""
        return self.root / "compare.html"

    @property
    def result(self) -> Path:
        """What ``--json`` prints."""
        return self.root / "result.json"

    def run(self, name: str) -> Path:
        """A model's run folder."""
        return self.root / "runs" / name

    def row(self, name: str) -> Path:
        """What a finished run came to."""
        return self.root / "rows" / f"{name}.json"

    @property
    def references(self) -> Path:
        """Real and shuffled data, measured and shown."""
        return self.root / "references.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder is this process's alone meanwhile; a process that was killed in here holds nobody up.

        Raises:
            RunFolderError: another process has it, or it is of something else.
        """
        self._refuse_strangers()
        lock = locks.take(self.root / ".compare.lock", wait=False)
        if lock is None:
            raise RunFolderError(
                "another process is at work on this comparison",
                given=str(self.root),
                cure="let it finish, or choose another folder with -o",
            )
        try:
            yield
        finally:
            lock.release()

    def claim(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """The plan that a comparison begun here goes on with; ``None`` where it has none yet.

        Raises:
            RunFolderError: the folder is of a newer version, or of another comparison.
        """
        if not self.plan.is_file():
            return None
        saved = read(self.plan)
        if saved.get("format", 0) > FORMAT:
            raise RunFolderError(
                "the comparison was begun by a newer version",
                given=f"format {saved['format']} in {self.root}",
                allowed=f"up to {FORMAT}",
                cure="update miaobi",
            )
        before = saved.get("asked", {})
        changed = [key for key in {**before, **asked} if before.get(key, _ABSENT) != asked.get(key, _ABSENT)]
        if changed:
            raise RunFolderError(
                "another comparison was begun in this folder",
                given=f"{self.root}, which differs in {', '.join(sorted(changed))}",
                cure="ask for the same, or choose another folder with -o",
            )
        return saved

    def begin(self, asked: Mapping[str, Any], data: str, planned: Mapping[str, Any]) -> dict[str, Any]:
        """Write the plan, with the fingerprint of its data, before anything is trained; what was written."""
        plan = {"format": FORMAT, "asked": dict(asked), "data": data, **planned}
        write(self.plan, plan)
        return plan

    def check_data(self, saved: Mapping[str, Any], data: str) -> None:
        """Refuse to go on with data that changed since the comparison was begun: nothing trained on it would compare.

        Raises:
            InvalidRecipe: another fingerprint than the plan's.
        """
        # A plan of before this was recorded has none.
        if saved.get("data", data) != data:
            raise InvalidRecipe(
                "the data changed since the comparison was begun",
                given=f"fingerprint {data}",
                allowed=f"{saved['data']}, that of {self.plan}",
                cure="bring the data back, or compare again in another folder with -o",
            )

    def _refuse_strangers(self) -> None:
        if self.plan.is_file():
            return
        if self.root.exists() and not self.root.is_dir():
            raise RunFolderError("not a folder", given=str(self.root), cure="choose a folder with -o")
        if self.root.is_dir() and any(not path.name.startswith(".") for path in self.root.iterdir()):
            raise RunFolderError(
                "the folder holds something else", given=str(self.root), cure="choose an empty or a new one with -o"
            )


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON at once.

    Raises:
        SaveFailed: the disk is full or not writable.
    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        CorruptFile: altered or cut short.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}", cure="delete it, and compare again") from None
    if not isinstance(found, dict):
        raise CorruptFile(f"{path} does not hold a comparison", cure="delete it, and compare again")
    return found
