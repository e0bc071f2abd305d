"""From a model to a folder in another program's format, checked before it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from miaobi import plugins
from miaobi.export._base import Format
from miaobi.export._compare import largest, within
from miaobi.export._describe import describe
from miaobi.export._folder import Free, free_bytes, new_folder, require_unused
from miaobi.export._inputs import Inputs, inputs_of
from miaobi.export._source import Exportable, source_of
from miaobi.models import Model, load

_MERGED = 1e-3
"""Logits: two small products are added before and after rounding."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how it was checked.

    Attributes:
        format: the format's name.
        path: the folder.
        files: names of what is in it, sorted.
        checks: what was compared with the network on what, plain JSON.
    """

    format: str
    path: Path
    files: list[str]
    checks: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """A plain mapping."""
        return {"format": self.format, "path": str(self.path), "files": self.files, "checks": self.checks}


def export_model(
    model: Model | str | Path,
    *,
    format: str,  # noqa: A002 - the option's name on the command line
    out: Path | str,
    texts: Sequence[str] = (),
    free: Free = free_bytes,
    **options: Any,
) -> Exported:
    """Write a language model for other programs, and compare what they compute with what the network does.

    Args:
        model: a loaded model, a run folder or a model folder.
        format: ``transformers``, ``gguf`` or ``onnx``.
        out: the folder to write; absent or empty.
        texts: what to compare on; default: held-out items, else samples of the model (the checks say which).
        free: tells the bytes that are free in a folder.
        options: the format's own.

    Raises:
        RequestError: an unknown format or option, a model that cannot be exported, a missing extra, or a used folder.
        SaveFailed: no room for it, or the disk cannot be written.
        ExportFailed: what was written differs from the network by more than the format's tolerance; it is removed.
    """
    kind = plugins.load("miaobi.export", format, Format)  # type: ignore[type-abstract]
    chosen = kind(kind.Config.parse(options, "option"))
    kind.require_packages()
    require_unused(Path(out))
    model = model if isinstance(model, Model) else load(model)
    source = source_of(model)
    inputs = inputs_of(model, source, texts)
    _require_same(model, source, inputs)
    return export_source(source, chosen, Path(out), inputs, free)


def export_source(source: Exportable, chosen: Format, out: Path, inputs: Inputs, free: Free = free_bytes) -> Exported:
    """`export_model` of what is known already; errors as there."""
    name = plugins.name_of(type(chosen))
    with new_folder(out, chosen.size(source), free) as folder:
        chosen.write(source, folder)
        checks = {"inputs": inputs.origin, **chosen.check(source, folder, inputs)}
        describe(source, name, checks, folder)
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return Exported(name, out, files, checks)


@torch.no_grad()
def _require_same(model: Model, source: Exportable, inputs: Inputs) -> None:
    """That what is written from, an adapter merged into it perhaps, is what the model computes.

    Raises:
        ExportFailed: it is not.
    """
    network: Any = model.family.shipped().network
    pairs = [(network(torch.tensor([tokens]))[0], source.logits(tokens)) for tokens in inputs.sequences]
    apart = largest([(own.float() - other[:, : own.shape[1]]).abs().max() for own, other in pairs])
    within("merged logit", apart, _MERGED)
