"""A published model in memory: its configuration and weights, shared by all that are built on it in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from miaobi.errors import CorruptFile, MissingExtra, Unsupported
from miaobi.modalities._public_files import PublicFiles, locate
from miaobi.pretrained._native import shape_of
from miaobi.pretrained._probe import require_decodable

_open: WeakValueDictionary[tuple[str, str, str], Base] = WeakValueDictionary()


class Kind(StrEnum):
    """What a published model does with tokens; the value is the class of transformers that opens it."""

    CAUSAL = "AutoModelForCausalLM"
    READING = "AutoModelForSeq2SeqLM"
    MASKED = "AutoModelForMaskedLM"
    ENCODING = "AutoModel"


@dataclass(frozen=True)
class Base:
    """A published model.

    Attributes:
        files: where it is, and what it is known by.
        kind: how it was opened.
        sha256: of its files of weights.
        config: transformers' configuration of it.
        tensors: every weight by transformers' name, a tied one under its first; nobody changes them in place.
        firsts: every name that a tensor has, and its first.
    """

    files: PublicFiles
    kind: Kind
    sha256: str
    config: Any
    tensors: Mapping[str, Tensor]
    firsts: Mapping[str, str]

    @property
    def reference(self) -> str:
        """What it is known by, its revision pinned."""
        return self.files.reference

    @property
    def context(self) -> int | None:
        """The longest sequence that it was made for; ``None``: its configuration does not say."""
        config = self.config.get_text_config()
        said = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "sliding_window")]
        known = [value for value in said if isinstance(value, int) and value > 0]
        return min(known) if known else None


def open_base(reference: str, kind: Kind, sha256: str | None = None) -> Base:
    """A published model; a second one of the same files shares the first one's memory.

    Args:
        reference: `miaobi.modalities._public_files.FORMS`.
        kind: what it is to do.
        sha256: of its weights, where they have to be the very ones.

    Raises:
        CorruptFile: its files cannot be read, or are others than ``sha256`` says.
        Unsupported: it is of another kind, or nothing that transformers knows.
        FetchFailed, MissingExtra, RunFolderError, UnknownName: as for `locate`.
    """
    files = locate(reference)
    found = files.sha256()
    if sha256 is not None and found != sha256:
        raise CorruptFile(
            "the public model is not the one that this was trained on: its weights have another checksum",
            given=f"{files.reference}: {found[:16]}",
            allowed=sha256[:16],
            cure="put the same files there, or train again on what is there now",
        )
    key = (files.reference, found, kind.value)
    base = _open.get(key)
    if base is None:
        base = _open[key] = _read(files, kind, found)
    return base


def empty_model(kind: Kind, config: Any) -> Any:
    """A model of transformers whose weights are yet to be put in."""
    transformers = _transformers()
    from transformers.initialization import no_init_weights

    with no_init_weights(), torch.random.fork_rng(devices=[]):
        return getattr(transformers, kind.value).from_config(config, trust_remote_code=False).float()


def model_of(base: Base) -> Any:
    """A model of transformers over the base's own tensors, frozen and in evaluation mode."""
    model = empty_model(base.kind, base.config)
    state = {name: base.tensors[first] for name, first in base.firsts.items()}
    lost, _ = model.load_state_dict(state, strict=False, assign=True)
    if lost:
        raise CorruptFile("the model's weights do not fit it", given=f"no {lost[:3]}", cure="fetch it again")
    model.tie_weights()
    return model.eval().requires_grad_(False)


def is_causal(config: Any) -> bool:
    """Whether positions of a model that encodes see those before them only."""
    transformers = _transformers()
    known = [getattr(transformers, kind.value)._model_mapping for kind in (Kind.MASKED, Kind.CAUSAL)]
    return type(config) not in known[0] and type(config) in known[1]


def read_config(described: Mapping[str, Any]) -> Any:
    """Transformers' configuration from plain JSON.

    Raises:
        Unsupported: an architecture that transformers does not have.
    """
    transformers = _transformers()
    said = dict(described)
    try:
        return transformers.AutoConfig.for_model(said.pop("model_type"), **said)
    except (KeyError, TypeError, ValueError) as error:
        raise Unsupported(f"transformers has no such architecture: {error}", cure="update transformers") from None


def _read(files: PublicFiles, kind: Kind, sha256: str) -> Base:
    transformers = _transformers()
    where = {"trust_remote_code": False, "local_files_only": True}
    try:
        config = transformers.AutoConfig.from_pretrained(files.folder, **where)
    except Exception as error:  # noqa: BLE001 - what transformers raises for an unknown model is its own
        raise Unsupported(
            f"transformers does not know this model: {error}", given=files.reference, cure="update transformers"
        ) from None
    loader = getattr(transformers, kind.value)
    both_sides = kind in (Kind.MASKED, Kind.ENCODING) and getattr(config, "is_encoder_decoder", False)
    if type(config) not in loader._model_mapping or both_sides:
        raise Unsupported(
            f"the model is none that {_PURPOSE[kind]}",
            given=f"{config.model_type} ({files.reference})",
            cure="choose a family that it fits: autoregressive, seq2seq, masked_lm or classifier",
        )
    # Weights that a head lacks are drawn; what is trained elsewhere must not depend on how often that happens.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model, told = loader.from_pretrained(
                files.folder,
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                weights_only=True,
                output_loading_info=True,
                **where,
            )
        except Exception as error:  # noqa: BLE001 - a broken file makes the libraries raise anything
            raise CorruptFile(f"the model cannot be read: {error}", given=files.reference) from None
    _require_whole(told["missing_keys"], kind, files)
    state = model.state_dict()
    firsts = _firsts(state)
    tensors = {name: state[name] for name in dict.fromkeys(firsts.values())}
    base = Base(files, kind, sha256, config, tensors, firsts)
    if kind is Kind.CAUSAL and shape_of(config) is None:
        require_decodable(model.eval(), f"{config.model_type} ({files.reference})", base.context)
    return base


def _require_whole(missing: Iterable[str], kind: Kind, files: PublicFiles) -> None:
    """Refuse weights that lack what the library would draw at random in their place; heads of encoders are no loss."""
    lost = sorted(missing)
    if kind in (Kind.MASKED, Kind.ENCODING):
        lost = [name for name in lost if not any(part in name for part in _HEADS)]
    if lost:
        raise CorruptFile(
            "the model's files lack some of its weights",
            given=f"{len(lost)} absent, the first {lost[:3]} ({files.reference})",
            cure="fetch or copy it again; an adapter alone needs the model that it is of",
        )


_HEADS = ("pooler", "head", "cls.", "classifier", "predictions")


_PURPOSE = {
    Kind.CAUSAL: "writes text token by token",
    Kind.READING: "reads one text and writes another",
    Kind.MASKED: "fills in masked tokens",
    Kind.ENCODING: "encodes tokens",
}


def _firsts(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Every tensor's name, and the first name of the same one."""
    seen: dict[tuple[int, torch.Size], str] = {}
    return {name: seen.setdefault((tensor.data_ptr(), tensor.shape), name) for name, tensor in state.items()}


def _transformers() -> Any:
    try:
        import transformers
        from transformers.utils import logging
    except ImportError:
        raise MissingExtra("a public model", "starter") from None
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return transformers
