"""Where figures go: ``metrics.jsonl`` always, TensorBoard by default, Weights & Biases on request."""

from __future__ import annotations

import importlib.util
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miaobi.errors import MissingExtra
from miaobi.recipe import Recipe
from miaobi.training.run_folder import RunFolder

Figures = Mapping[str, float]


class Sink(ABC):
    """Somewhere that figures go."""

    @abstractmethod
    def scalars(self, step: int, figures: Figures) -> None:
        """Figures of a step."""

    def close(self) -> None:
        """Flush and let go."""


class Tracker:
    """Writes figures to every sink.

    Args:
        folder: the run's.
        names: ``tensorboard`` and ``wandb``.
        recipe: told to trackers that keep settings.
        step: where the run goes on from; whatever was written about later steps is dropped.

    Raises:
        MissingExtra: a tracker that is not installed.
    """

    def __init__(self, folder: RunFolder, names: Sequence[str], recipe: Recipe, step: int) -> None:
        self._lines = _Lines(folder.metrics, step)
        self._sinks = [_MAKERS[name](folder, recipe, step) for name in names]

    def log(self, step: int, seconds: float, figures: Figures) -> None:
        """Training figures of a step."""
        self._lines.write({"step": step, "time": round(seconds, 3), **_finite(figures)})
        self._spread(step, figures)

    def evaluation(self, step: int, figures: Figures) -> None:
        """Held-out figures of a step."""
        self._lines.write({"step": step, "evaluation": _finite(figures)})
        self._spread(step, {f"evaluation/{name}": value for name, value in figures.items()})

    def notice(self, step: int, text: str) -> None:
        """Something that a reader of the run should know."""
        self._lines.write({"step": step, "notice": text})

    def close(self) -> None:
        """Close every sink."""
        self._lines.close()
        for sink in self._sinks:
            sink.close()

    def _spread(self, step: int, figures: Figures) -> None:
        for sink in self._sinks:
            sink.scalars(step, figures)


class Untracked(Tracker):
    """Writes nothing: what every process but the first has."""

    def __init__(self) -> None:
        self._lines, self._sinks = _Nothing(), []


def require(names: Sequence[str]) -> None:
    """Check before any work that every tracker can be used.

    Raises:
        MissingExtra: Weights & Biases is not installed.
    """
    if "wandb" in names and importlib.util.find_spec("wandb") is None:
        raise MissingExtra("train.tracking: wandb", "wandb")


class _Lines:
    def __init__(self, path: Path, step: int) -> None:
        kept = [line for line in read_lines(path) if line.get("step", 0) <= step]
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}")
        fresh.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in kept), encoding="utf-8")
        fresh.replace(path)
        self._stream = path.open("a", encoding="utf-8")

    def write(self, line: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


class _Nothing(_Lines):
    def __init__(self) -> None:
        pass

    def write(self, line: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


class _TensorBoard(Sink):
    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder.tensorboard), purge_step=step + 1 if step else None)

    def scalars(self, step: int, figures: Figures) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases(Sink):
    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        require(["wandb"])
        import wandb

        name = folder.root.resolve().name
        self._run: Any = wandb.init(
            project="miaobi", id=name, name=name, dir=str(folder.root), resume="allow", config=recipe.to_json()
        )

    def scalars(self, step: int, figures: Figures) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


_MAKERS = {"tensorboard": _TensorBoard, "wandb": _WeightsAndBiases}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a ``metrics.jsonl``; a last one cut short by a killed process is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _finite(figures: Figures) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
