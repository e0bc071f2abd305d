"""The file that llama.cpp reads of a model: the published one where there is one, else an export that is kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import miaobi
from miaobi.export import Exportable, export_source, find, source_of
from miaobi.export._inputs import drawn_inputs
from miaobi.locks import take
from miaobi.modalities._cache_folder import cache_folder
from miaobi.models import Model
from miaobi.pretrained import locate


def gguf_of(model: Model, kind: str) -> tuple[Path, int]:
    """The file, and how many tokens its vocabulary has.

    Args:
        model: a language model.
        kind: how an export stores weights: ``f16`` or ``q8_0``; a published file is used as it is.

    Raises:
        Unsupported: the model does not export to this format; says why.
        ExportFailed: llama.cpp does not compute from the export what the model does.
        SaveFailed: there is no room in the cache.
    """
    # Only a public model as it was published says so at the top; what was trained from one names it in its recipe.
    if "base" in model.info:
        files = locate(model.info["base"])
        if files.gguf is not None:
            return files.gguf, int(files.json("config.json")["vocab_size"])
    source = source_of(model)
    folder = cache_folder() / "gguf" / _key(source, kind)
    lock = take(folder.parent / f".{folder.name}.lock", wait=True)
    try:
        if not folder.exists():
            written = find("gguf")
            export_source(source, written(written.Config.parse({"type": kind})), folder, drawn_inputs(model, source))
    finally:
        lock.release()
    return folder / "model.gguf", source.vocabulary


def _key(source: Exportable, kind: str) -> str:
    """A checksum of all that an export is made of."""
    told = [miaobi.__version__, kind, source.begin, source.end, source.limit, source.chat_template, source.suppressed]
    digest = hashlib.sha256(json.dumps(told).encode() + source.engine.to_str().encode())
    for name, weight in sorted(source.network.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.contiguous().numpy().data)
    return digest.hexdigest()[:32]
