"""The pages of a finished run: ``report.html`` and ``model/MODEL_CARD.md``, written anew whenever more is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miaobi import models
from miaobi.errors import CorruptFile, RunFolderError
from miaobi.evaluation import Score
from miaobi.modalities import Modality
from miaobi.models.versions import in_use, run_of
from miaobi.training import card, report, scored, summary
from miaobi.training.run_folder import STAGES, RunFolder, write_text


def publish(folder: RunFolder, info: Mapping[str, Any]) -> None:
    """Write the page and the card of a run without stages.

    Raises:
        CorruptFile: its kept scores are damaged.
        SaveFailed: the disk is full.
    """
    known = scored.read(folder)
    samples = last_samples(folder.samples)
    write_text(folder.model / "MODEL_CARD.md", card.text(info, known.scores, samples))
    write_text(folder.report, report.page(folder, info, known, samples))


def publish_stages(folder: RunFolder, stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the page of a run of stages, with the last one's card; ``stages``: what each model says of itself."""
    name = list(stages)[-1]
    last = RunFolder(folder.root / STAGES / name)
    known, samples = scored.read(last), last_samples(last.samples)
    write_text(folder.report, summary.page(folder, stages, known, samples))
    told = card.text(stages[name], known.scores, samples, place=f"{STAGES}/{name}/")
    write_text(folder.model / "MODEL_CARD.md", told)


def record(run: str | Path, scores: Mapping[str, Score], modality: Modality) -> Path:
    """Keep what `miaobi.evaluate` measured of a run's model, and write its page and its card anew.

    Args:
        run: a finished run's folder; of a run of stages, the last stage's model is the run's.
        scores: by figure.
        modality: the model's, which writes the nearest training items.

    Returns:
        The page.

    Raises:
        RunFolderError: not the folder of a finished run.
        CorruptFile: what it holds is damaged.
        SaveFailed: the disk is full.
    """
    if not is_run(run):
        raise RunFolderError("not the folder of a finished run", given=str(run), cure="train it first")
    folder = RunFolder(run_of(Path(run), in_use(Path(run))))
    names = _stages(folder)
    of = RunFolder(folder.root / STAGES / names[-1]) if names else folder
    scored.keep(of, scores, modality.shown)
    publish(of, models.info_of(of.root))
    if names:
        publish_stages(folder, {name: models.info_of(folder.root / STAGES / name) for name in names})
    return folder.report


def is_run(source: str | Path) -> bool:
    """Whether a source is the folder of a finished run, and not of a model alone."""
    folder = RunFolder(Path(source))
    return folder.lineage.is_file() and (folder.model / "model.json").is_file()


def last_samples(folder: Path) -> list[Path]:
    """The files of the last live samples."""
    paths = sorted(folder.glob("*")) if folder.is_dir() else []
    last = paths[-1].name.partition("-")[0] if paths else ""
    return [path for path in paths if path.name.startswith(f"{last}-")]


def _stages(folder: RunFolder) -> list[str]:
    try:
        names = json.loads(folder.lineage.read_text(encoding="utf-8")).get("stages") or []
    except (OSError, ValueError, AttributeError) as error:
        raise CorruptFile(f"{folder.lineage} cannot be read: {error}") from None
    # A name comes from a file: only what is a stage's folder here counts.
    known = {path.name for path in (folder.root / STAGES).glob("*")}
    return [name for name in names if name in known]
