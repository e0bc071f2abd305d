"""A GGUF file as an ordinary folder of config.json, safetensors and tokenizer: converted once and kept in the cache.

Quantised tensors become float32, in which every value of the file is exact. Reading the file anew each time would take
many times as long as reading what it was converted to.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from miaobi.errors import CorruptFile, MissingExtra, SaveFailed, Unsupported
from miaobi.locks import take
from miaobi.modalities._cache_folder import cache_folder

_MODEL = "model.safetensors"


def converted(path: Path, sha256: str) -> Path:
    """The folder that the GGUF file at ``path`` was converted to, or is now.

    Raises:
        MissingExtra: the packages that read it are absent.
        CorruptFile: it is cut short, or no GGUF file.
        Unsupported: an architecture that transformers does not read from GGUF.
        SaveFailed: there is no room in the cache.
    """
    root = cache_folder() / "public"
    folder = root / sha256[:32]
    lock = take(root / f".{folder.name}.lock", wait=True)
    try:
        if not (folder / _MODEL).is_file():
            tensors = _checked(path)
            _require_room(root, tensors)
            _publish(path, folder)
    finally:
        lock.release()
    return folder


def _checked(path: Path) -> int:
    """The numbers that its tensors hold, after a look at whether all of it is there."""
    try:
        import gguf
    except ImportError:
        raise MissingExtra(f"reading {path.name}", "starter") from None
    try:
        tensors = gguf.GGUFReader(path).tensors
        end = max((int(one.data_offset) + int(one.n_bytes) for one in tensors), default=0)
        numbers = sum(int(one.n_elements) for one in tensors)
    except Exception as error:  # noqa: BLE001 - a broken file makes the reader raise anything
        raise _cut_short(path, error) from None
    if not tensors or end > path.stat().st_size:
        raise _cut_short(path, f"its tensors end at byte {end}")
    return numbers


def _cut_short(path: Path, why: object) -> CorruptFile:
    return CorruptFile(
        f"{path.name} is cut short, or no GGUF file: {why}",
        given=f"{path.stat().st_size} bytes",
        cure="fetch or copy it again",
    )


def _require_room(root: Path, numbers: int) -> None:
    free, needed = shutil.disk_usage(root).free, 4 * numbers + (64 << 20)
    if free < needed:
        raise SaveFailed(
            f"the cache {root} has no room for the converted model",
            given=f"{free >> 20} MiB free",
            allowed=f"{needed >> 20} MiB",
            cure="free some disk space, or set MIAOBI_CACHE to another disk",
        )


def _publish(path: Path, folder: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(path, fresh)
        fresh.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
    except OSError as error:
        raise SaveFailed(f"could not write the converted model: {error}", cure="free some disk space") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write(path: Path, folder: Path) -> None:
    model, tokenizer = _read(path)
    seen: dict[int, str] = {}
    state = {name: tensor for name, tensor in model.state_dict().items() if not _again(seen, name, tensor)}
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    roles = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    _write_json(folder / "config.json", config | {"architectures": [type(model).__name__], "dtype": "float32"})
    _write_json(folder / "tokenizer_config.json", roles | {"chat_template": tokenizer.chat_template})
    (folder / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / _MODEL)


def _again(seen: dict[int, str], name: str, tensor: torch.Tensor) -> bool:
    """Whether the tensor was met under another name: a head that is tied to the embedding."""
    return seen.setdefault(tensor.data_ptr(), name) != name


def _read(path: Path) -> tuple[Any, Any]:
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise MissingExtra(f"reading {path.name}", "starter") from None
    logging.disable_progress_bar()
    try:
        where = {"gguf_file": path.name, "trust_remote_code": False, "local_files_only": True}
        model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where)
        return model, AutoTokenizer.from_pretrained(path.parent, **where)
    except Exception as error:  # noqa: BLE001 - what transformers raises for an unknown file is its own
        raise Unsupported(f"transformers cannot read {path.name}: {error}", cure="use safetensors of it") from None


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
