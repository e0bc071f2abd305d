"""The chain of a run's versions: which there are, what each was refreshed from, and which is in use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from miaobi import locks, models
from miaobi.errors import CorruptFile, InvalidRecipe, RunFolderError, Unsupported
from miaobi.models.versions import FIRST, VERSIONS, is_version, model_of, run_of
from miaobi.recipe import Recipe
from miaobi.training.run_folder import RunFolder, write_text

PREFIX = "version:"
_MOST = 9999


def check_run(root: Path) -> None:
    """Refuse what has no model that could be refreshed.

    Raises:
        RunFolderError: not the folder of a finished run.
        Unsupported: a run of stages, or a version of another run.
    """
    folder = RunFolder(root)
    if not (folder.lineage.is_file() and (folder.model / "model.json").is_file()):
        raise RunFolderError(
            "not the folder of a finished run", given=str(root), cure="train it first: miaobi train RECIPE --run DIR"
        )
    if (root / "stages").is_dir():
        raise Unsupported(
            "a run of stages cannot be refreshed as a whole",
            given=str(root),
            cure="train its stages as runs of their own, and refresh the last",
        )
    if _in_versions(root):
        raise Unsupported(
            "a version cannot have versions of its own",
            given=str(root),
            cure=f"refresh the run: {_above(root)}",
        )


def versions(root: Path) -> list[str]:
    """The refreshed versions of a run that were begun, finished or not, oldest first."""
    found = (root / VERSIONS).glob("*") if (root / VERSIONS).is_dir() else iter(())
    return sorted(path.name for path in found if is_version(path.name) and RunFolder(path).used)


def following(root: Path) -> str:
    """The name of the next version.

    Raises:
        Unsupported: there are 9,999 already.
    """
    number = int(max([FIRST, *versions(root)])) + 1
    if number > _MOST:
        raise Unsupported("a run has at most 9,999 versions", given=str(root), cure="go on from a copy of its model")
    return f"{number:04}"


def led(recipe: Recipe, run: Path) -> Recipe:
    """The recipe of a refresh whose run is in ``run``, ``version:NNNN`` being that version's model; others as they are.

    Raises:
        InvalidRecipe: it refers to a version, and its run is none.
    """
    said = recipe.refresh.parent
    if said is None or not said.startswith(PREFIX):
        return recipe
    name = said.removeprefix(PREFIX)
    if not _in_versions(run) or not is_version(name):
        raise InvalidRecipe(
            "refresh.parent means something in RUN/versions/NNNN only",
            given=said,
            cure="leave it out, and refresh a run with miaobi train RUN --continue --data SOURCE",
        )
    place = f"run:{model_of(_above(run), name)}"
    return recipe.model_copy(
        update={
            "refresh": recipe.refresh.model_copy(update={"parent": place}),
            "model": recipe.model.model_copy(update={"start": place}),
        }
    )


def version_of(reference: str) -> str:
    """The name of the version whose model a reference of `led` is of."""
    place = models.resolve(reference).parent
    return place.name if _in_versions(place) and is_version(place.name) else FIRST


def root_of(version: Path) -> Path:
    """The run that a version is of."""
    return _above(version)


def read_gates(root: Path, version: str) -> dict[str, Any] | None:
    """What a version's gates measured; ``None`` where it is not finished.

    Raises:
        CorruptFile: the file is damaged.
    """
    path = RunFolder(run_of(root, version)).gates
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(found["passed"], bool) and isinstance(found["gates"], list)):
            raise TypeError("no verdict")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CorruptFile(
            f"{path} cannot be read: {error!r}", cure=f"measure again: miaobi train {path.parent} --resume"
        ) from None
    return dict(found)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Nobody else changes the run's lineage meanwhile.

    Raises:
        SaveFailed: the folder cannot be written.
    """
    lock = locks.take(root / ".versions.lock", wait=True)
    try:
        yield
    finally:
        lock.release()


def change(root: Path, update: Callable[[dict[str, Any]], None]) -> None:
    """Write the run's lineage anew, at once; call it `alone`.

    Raises:
        CorruptFile: it is damaged.
        SaveFailed: it cannot be written; it is as it was.
    """
    path = RunFolder(root).lineage
    try:
        lineage = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}") from None
    update(lineage)
    write_text(path, json.dumps(lineage, indent=1, ensure_ascii=False))


def _in_versions(run: Path) -> bool:
    return Path(_plain(run)).parent.name == VERSIONS


def _above(run: Path) -> Path:
    return Path(_plain(run)).parent.parent


def _plain(run: Path) -> str:
    # Not resolved: a version that is a link to another disk has its run here.
    return os.path.abspath(run)  # noqa: PTH100
