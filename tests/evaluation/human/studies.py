"""Small folders of real texts, pictures, sounds and clips, studies of them, and simulated raters of known ability."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miaobi import modalities
from miaobi.evaluation.human import Role, Study, rate
from miaobi.evaluation.human.plan import choices
from miaobi.evaluation.human.records import CATCHES
from tests.evaluation.clips import drifting
from tests.evaluation.stand_ins import digits, sentences

SECRET = "gaudi-model"
"""The name of a system that no rater's browser may be sent."""


def texts(folder: Path, lines: Iterable[str]) -> Path:
    """A folder of text files."""
    folder.mkdir(parents=True)
    for number, line in enumerate(lines):
        (folder / f"{number:04d}.txt").write_text(line)
    return folder


def pictures(folder: Path, items: Iterable[np.ndarray]) -> Path:
    """A folder of PNG files, each naming its maker inside."""
    from PIL.PngImagePlugin import PngInfo

    folder.mkdir(parents=True)
    for number, pixels in enumerate(items):
        info = PngInfo()
        info.add_text("Software", SECRET)
        Image.fromarray(pixels[..., 0]).save(folder / f"{number:04d}.png", pnginfo=info)
    return folder


def clips(folder: Path, count: int) -> Path:
    """A folder of MP4 files."""
    folder.mkdir(parents=True)
    modality = modalities.create({"name": "video"})
    for number, clip in enumerate(drifting(count)):
        modality.write(clip, folder / f"{number:04d}")[1].unlink()
    return folder


def sounds(folder: Path, count: int) -> Path:
    """A folder of WAV files: tones."""
    import soundfile

    folder.mkdir(parents=True)
    for number in range(count):
        wave = 0.3 * np.sin(2 * np.pi * (220 + 20 * number) * np.arange(8000) / 16_000)
        soundfile.write(folder / f"{number:04d}.wav", wave, 16_000)
    return folder


def text_study(folder: Path, task: str, *, n: int = 12, systems: int = 2, **options: Any) -> Study:
    """A study of different real sentences, some of them called a model's."""
    lines = sentences(1000)[:: max(1, 1000 // (systems + 1) // (5 * n * systems))]
    names = [SECRET, *(f"other-{number}" for number in range(1, systems))]
    made = [texts(folder / name, lines[number :: systems + 1]) for number, name in enumerate(names)]
    real = texts(folder / "held-out", lines[systems :: systems + 1]) if task != "pairs" else None
    return rate(made, task=task, n=n, real=real, out=folder / "study", **options)


def picture_study(folder: Path, task: str, *, n: int = 6, **options: Any) -> Study:
    """A study of real digits, half of them called a model's."""
    items = digits(200)
    made, real = pictures(folder / SECRET, items[:100]), pictures(folder / "held-out", items[100:])
    return rate([made], task=task, n=n, real=real, out=folder / "study", **options)


def simulated_answers(study: Study, rater: str, answer: Callable[[Any], str], *, attentive: bool = True) -> None:
    """Have a simulated rater answer everything; ``answer`` gives the choice for a rated or repeated trial."""
    for shown in study.plan(rater):
        trial = shown.trial
        if trial.role in CATCHES:
            allowed = choices(trial, study.design)
            choice = next(one for one in allowed if trial.passed(one) == attentive)
        else:
            choice = answer(shown)
        study.add(rater, shown, choice, 1.5)


def systems_of(study: Study, shown: Any) -> list[str]:
    """The systems behind a trial, in the order of the sides."""
    return [study.pieces[id_].system for id_ in shown.pieces]


def rated(study: Study) -> int:
    """How many trials estimates come from."""
    return sum(trial.role is Role.RATED for trial in study.trials)
