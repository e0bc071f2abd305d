"""The end of a run: the best weights become the model, with its card, its lineage and a page that shows the run."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, cast

import miaobi
from miaobi import models
from miaobi.errors import CorruptFile
from miaobi.families import Family
from miaobi.models import Model, PartCodec
from miaobi.training import facts, memory
from miaobi.training.publish import publish
from miaobi.training.run_folder import write_text
from miaobi.training.session import Session


def deliver(session: Session) -> Path:
    """Write ``model/`` with the best checkpoint's weights (averaged, where the recipe averages), and all about it.

    Raises:
        SaveFailed: the disk is full; an earlier model is intact, and resuming delivers again.
    """
    step = _take_best(session)
    info = _info(session, step)
    assembly, folder = session.assembly, session.folder
    with assembly.resting() as shipped:
        models.save(_model(session, shipped, info), folder.model)
    publish(folder, info)
    lineage = json.loads(folder.lineage.read_text(encoding="utf-8")) | {"result": _result(info)}
    write_text(folder.lineage, json.dumps(lineage, indent=1, ensure_ascii=False))
    return folder.model


def _model(session: Session, shipped: Family, info: dict[str, Any]) -> Model:
    prepared = session.assembly.prepared
    parts = {name: cast(PartCodec, part).model for name, part in prepared.parts.items()}
    return Model(shipped, prepared.modality, prepared.conditions, info, parts, session.supplies)


def _take_best(session: Session) -> int:
    """Load the best checkpoint's weights; the step that they are of."""
    state = session.state
    if state.best is None or state.best.step == state.step:
        return state.step
    try:
        session.take_weights(session.checkpoints.load(state.best.step))
    except CorruptFile as error:
        warnings.warn(f"{error.message}; the last weights are delivered in place of the best", stacklevel=2)
        return state.step
    return state.best.step


def _info(session: Session, step: int) -> dict[str, Any]:
    state, prepared, recipe = session.state, session.assembly.prepared, session.recipe
    family = session.assembly.family
    return {
        "miaobi": miaobi.__version__,
        "recipe": recipe.to_json(),
        "data": {
            "source": prepared.source,
            "fingerprint": prepared.fingerprint,
            "licence": prepared.licence,
            "items": {part: len(getattr(prepared, part)) for part in ("train", "validation", "test")},
            "dropped": facts.dropped(prepared.report.data),
        },
        "licence": prepared.licence,
        "parameters": family.size,
        "trained": sum(p.numel() for p in {p for o in session.assembly.optimisers.values() for p in o.parameters}),
        "steps": state.step,
        "step": step,
        "weights": "raw" if session.assembly.average is None else "average",
        "items": state.items,
        "seconds": round(state.seconds, 1),
        "memory": memory.peak(session.processes.device),
        "best": None if state.best is None else vars(state.best),
        "stopped": state.stopped,
        "rollbacks": state.guards.rollbacks,
    }


def _result(info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in ("steps", "step", "weights", "seconds", "memory", "best", "stopped")}
