"""`promote`: put a version in use where its gates passed, or take the last promotion back.

Every version's model stays where it was made. What is in use is the last entry of ``promotions`` in the run's lineage,
which is written beside the old file and put in its place at once: whatever happens, the old or the new model is in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from miaobi import models
from miaobi.errors import CorruptFile, HeldBack, InvalidRecipe, RunFolderError
from miaobi.models.versions import FIRST, in_use, model_of, promotions, run_of
from miaobi.training.continual import chain
from miaobi.training.continual.concluding import weights_of
from miaobi.training.continual.gates import sentence
from miaobi.training.run_folder import RunFolder

PROMOTED, TAKEN_BACK = "promoted", "rolled back"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What is in use now.

    Attributes:
        run: the run.
        version: in use; ``previous``: in use before.
        model: its folder.
        gates: what its gates measured; empty for the run's own model.
    """

    run: Path
    version: str
    previous: str
    model: Path
    gates: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "run": str(self.run),
            "version": self.version,
            "previous": self.previous,
            "model": str(self.model),
            "gates": self.gates,
        }


def promote(run: str | Path, *, version: str | None = None, rollback: bool = False) -> Promotion:
    """Put a version of a run in use; ``generate`` and all else that takes the run then takes its model.

    Args:
        run: a run that was refreshed.
        version: which, as ``0002``; ``None``: the newest.
        rollback: go back to what was in use before the last promotion; promoting again undoes it.

    Raises:
        HeldBack: a gate did not pass; the figures are in the message, and nothing was changed.
        InvalidRecipe: a version and a rollback, or what is no version.
        RunFolderError: there is nothing to promote, or nothing to take back.
        CorruptFile: the model to be put in use is damaged, or it or the one in use is not the one that was measured.
        SaveFailed: the lineage cannot be written; nothing was changed.
    """
    root = Path(run)
    if rollback and version is not None:
        raise InvalidRecipe("a rollback takes no version", given=version, cure="leave --version or --rollback out")
    chain.check_run(root)
    with chain.alone(root):
        used = in_use(root)
        chosen = _before_last(root) if rollback else _passed(root, _chosen(root, version), used)
        gates = _gates(root, chosen)
        # Read whole, checksums and all.
        models.load(model_of(root, chosen))
        _enter(root, chosen, TAKEN_BACK if rollback else PROMOTED, gates)
    return Promotion(root, chosen, used, model_of(root, chosen), gates)


def _chosen(root: Path, version: str | None) -> str:
    known = [FIRST, *chain.versions(root)]
    if version is None:
        return known[-1]
    if version not in known:
        raise InvalidRecipe("the run has no such version", given=version, allowed=known)
    return version


def _passed(root: Path, version: str, used: str) -> str:
    """The version, which has to have passed its gates against what is in use."""
    if version == used:
        raise RunFolderError(
            "there is nothing to promote: this version is in use",
            given=version,
            cure=f"refresh it first: miaobi train {root} --continue --data SOURCE",
        )
    if version == FIRST:
        raise RunFolderError(
            "the run's own model was measured against nothing",
            given=version,
            cure=f"take the last promotion back: miaobi promote {root} --rollback",
        )
    verdict = chain.read_gates(root, version)
    place = run_of(root, version)
    if verdict is None:
        raise RunFolderError("the version is not finished", given=version, cure=f"go on: miaobi train {place} --resume")
    if verdict.get("parent") != used:
        raise RunFolderError(
            "the version was not measured against the one in use",
            given=f"{version}, refreshed from {verdict.get('parent')}; {used} is in use",
            cure="refresh the one in use",
        )
    if not verdict["passed"]:
        raise HeldBack(
            f"version {version} is not promoted: {'; '.join(sentence(gate) for gate in verdict['gates'])}",
            cure="more steps or data for the gain, more refresh.replay or refresh.distil against forgetting",
        )
    if "parent_sha256" not in verdict:
        raise RunFolderError(
            "an earlier version of miaobi measured this, and did not say against which weights",
            given=version,
            cure=f"measure again: miaobi train {place} --resume",
        )
    for key, measured in (("sha256", place), ("parent_sha256", run_of(root, used))):
        if verdict.get(key) != weights_of(RunFolder(measured)):
            raise CorruptFile(
                f"the model in {measured} is not the one that was measured",
                cure=f"measure again: miaobi train {place} --resume",
            )
    return version


def _before_last(root: Path) -> str:
    """What was in use before the last promotion."""
    entries = promotions(root)
    if not entries:
        raise RunFolderError("there is no promotion to take back", given=str(root), cure="leave --rollback out")
    if entries[-1].get("how") != PROMOTED:
        raise RunFolderError(
            "the last promotion was taken back already; a rollback goes back one promotion",
            given=f"{entries[-1]['version']} is in use",
            cure=f"promote again to undo the rollback: miaobi promote {root}",
        )
    return str(entries[-2]["version"]) if len(entries) > 1 else FIRST


def _gates(root: Path, version: str) -> list[dict[str, Any]]:
    verdict: Mapping[str, Any] = (chain.read_gates(root, version) if version != FIRST else None) or {}
    return list(verdict.get("gates", []))


def _enter(root: Path, version: str, how: str, gates: list[dict[str, Any]]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")

    def update(lineage: dict[str, Any]) -> None:
        entry = {"version": version, "how": how, "at": now, "gates": gates}
        lineage["promotions"] = [*lineage.get("promotions", []), entry]

    chain.change(root, update)
