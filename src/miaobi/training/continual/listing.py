"""What a run's versions are, in words: which there are, of what, and which is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miaobi.models.versions import FIRST, in_use, run_of
from miaobi.recipe import Recipe
from miaobi.training.continual import chain
from miaobi.training.continual.chain import PREFIX
from miaobi.training.continual.gates import sentence
from miaobi.training.run_folder import RunFolder


def described(run: Path) -> dict[str, Any]:
    """A run with its versions.

    Raises:
        CorruptFile: its lineage or a version's gates are damaged.
    """
    used = in_use(run)
    first = Recipe.load(run)
    known = {FIRST: {"source": first.data.source, "state": "the run's own model"}}
    known |= {version: _version(run, version) for version in chain.versions(run)}
    said = {name: f"{one['state']}, {one['source']}" for name, one in known.items()}
    said[used] = f"in use: {said[used]}"
    gates = {
        f"{version} {number}": sentence(gate)
        for version in chain.versions(run)
        for number, gate in enumerate((chain.read_gates(run, version) or {"gates": []})["gates"], 1)
    }
    told = {"kind": "run", "name": str(run), "description": first.note or first.model.family, "in use": used}
    return {**told, "versions": said, **({"gates": gates} if gates else {})}


def _version(run: Path, version: str) -> dict[str, str]:
    folder, verdict = RunFolder(run_of(run, version)), chain.read_gates(run, version)
    if not folder.recipe.is_file():
        return {"source": "nothing trained yet", "state": "not finished"}
    recipe = Recipe.load(folder.recipe)
    parent = (recipe.refresh.parent or "").removeprefix(PREFIX)
    state = "not finished" if verdict is None else "passed its gates" if verdict["passed"] else "held back by its gates"
    return {"source": recipe.data.source, "state": f"from {parent}, {state}"}
