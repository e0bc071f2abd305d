"""The end of a refresh: the old and the new model on the held-out items of all data, and what the gates say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from miaobi import models
from miaobi.errors import CorruptFile
from miaobi.evaluation.paired import Paired, compare_on
from miaobi.models.versions import run_of
from miaobi.recipe import Recipe
from miaobi.training.continual import chain
from miaobi.training.continual.chain import PREFIX, led
from miaobi.training.continual.gates import judge, sentence
from miaobi.training.continual.mixing import Domain, history_of
from miaobi.training.continual.refreshing import metric_of
from miaobi.training.publish import publish
from miaobi.training.run_folder import RunFolder, write_text
from miaobi.training.session import Session


def conclude(session: Session) -> dict[str, Any] | None:
    """Measure a refresh that was just delivered, into ``gates.json``, its page and the run's lineage.

    Returns:
        What ``gates.json`` holds; ``None`` of a run that is no refresh.

    Raises:
        Diverged: a model's figure is not finite.
        SaveFailed: the disk is full.
    """
    recipe, folder = session.recipe, session.folder
    if recipe.refresh.parent is None:
        return None
    session.reporter.say("measuring the old and the new model on held-out items of the old and the new data")
    parent = recipe.refresh.parent.removeprefix(PREFIX)
    verdict = {
        "version": folder.root.name,
        "parent": parent,
        "sha256": weights_of(folder),
        "parent_sha256": weights_of(RunFolder(run_of(chain.root_of(folder.root), parent))),
        "data": session.prepared.report.data["refresh"] | {"source": recipe.data.source},
        **measure(recipe, folder),
    }
    write_text(folder.gates, json.dumps(verdict, indent=1, ensure_ascii=False))
    publish(folder, models.info_of(folder.model))
    _record(folder, verdict, session.prepared.fingerprint)
    for gate in verdict["gates"]:
        session.reporter.say(sentence(gate))
    return verdict


def measure(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """The verdict on a version whose model is in ``folder``."""
    opened = led(recipe, folder.root)
    after, history, metric = models.opened(str(folder.model)), history_of(opened), metric_of(recipe)

    def on(domain: Domain, reference: str | None) -> Paired:
        before = models.opened(str(reference))
        return compare_on(before, after, domain.prepared, metric, **_settings(recipe))

    versions = [chain.version_of(str(domain.learnt)) for domain in history.old]
    old = [on(domain, domain.learnt) for domain in history.old]
    return judge(recipe.refresh, on(history.own, opened.refresh.parent), list(zip(versions, old, strict=True)))


def weights_of(folder: RunFolder) -> str:
    """What the model's weights are known by.

    Raises:
        CorruptFile: the model is gone or damaged.
    """
    path = folder.model / "model.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("sha256", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}", cure="put it back, or train again") from None


def _settings(recipe: Recipe) -> dict[str, Any]:
    settings = recipe.evaluate
    return {
        "count": settings.samples,
        "seed": recipe.seed,
        "controls": settings.control,
        "options": settings.options,
    }


def _record(folder: RunFolder, verdict: Mapping[str, Any], fingerprint: str) -> None:
    """Enter the version into the run's lineage."""
    root = chain.root_of(folder.root)
    entry = {
        "parent": verdict["parent"],
        "data": {"source": verdict["data"]["source"], "fingerprint": fingerprint},
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "passed": verdict["passed"],
        "gates": verdict["gates"],
    }

    def update(lineage: dict[str, Any]) -> None:
        lineage["versions"] = {**lineage.get("versions", {}), verdict["version"]: entry}

    with chain.alone(root):
        chain.change(root, update)
