"""A tokenizer as llama.cpp's byte-level pair encoding, for byte-level BPE and for characters alike.

A character's bytes are merged from the left, one after another, so every merge starts with a character's first byte and
no other way to merge them exists: the encoding of known characters is exact. An unknown character is dropped there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from miaobi.export._source import Exportable
from miaobi.modalities._characters import Characters
from miaobi.modalities._subwords import _letter

_BYTE_LEVEL = {"add_prefix_space": False, "use_regex": True}


@dataclass(frozen=True)
class Vocabulary:
    """What a file says of a tokenizer.

    Attributes:
        pieces: every token in the letters that stand for bytes.
        merges: pairs of pieces, most urgent first.
        spells: whether llama.cpp encodes texts as the model's tokenizer does; otherwise it must be given ids.
    """

    pieces: list[str]
    merges: list[str]
    spells: bool


def vocabulary_of(source: Exportable) -> Vocabulary:
    """The vocabulary with the layout's special tokens behind it."""
    described = json.loads(source.engine.to_str())
    pieces = _distinct([_piece(source, token) for token in range(source.layout.vocabulary)])
    if isinstance(source.tokenizer, Characters):
        known = pieces[: source.tokenizer.size]
        joined = [f"{piece[:cut]} {piece[cut]}" for piece in known for cut in range(1, len(piece))]
        return Vocabulary(pieces, list(dict.fromkeys(joined)), True)
    if _is_gpt2(described):
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in described["model"]["merges"]]
        return Vocabulary(pieces, merges, bool(merges))
    # A vocabulary without merges is not read at all; this one joins what no text has, two bytes that start nothing.
    return Vocabulary(pieces, [f"{_letter(0xFF)} {_letter(0xFF)}"], False)


def _piece(source: Exportable, token: int) -> str:
    if token in source.specials:
        return source.specials[token]
    added = source.engine.get_added_tokens_decoder().get(token)
    if added is not None:
        return str(added.content)
    return "".join(_letter(byte) for byte in source.tokenizer.token_bytes(token))


def _distinct(pieces: list[str]) -> list[str]:
    """The same, with its number in place of a piece that stands before it or says nothing."""
    seen: set[str] = set()
    found = []
    for token, piece in enumerate(pieces):
        found.append(piece if piece and piece not in seen else f"<|{token}|>")
        seen.add(found[-1])
    return found


def _is_gpt2(described: dict[str, object]) -> bool:
    """Whether an engine is byte-level BPE cut into words as GPT-2 does, as the ones trained here are."""
    model, cutting = described["model"], described["pre_tokenizer"]
    if not isinstance(model, dict) or not isinstance(cutting, dict):
        return False
    level = cutting.get("type") == "ByteLevel" and all(cutting.get(key) == said for key, said in _BYTE_LEVEL.items())
    return model.get("type") == "BPE" and not model.get("ignore_merges") and level and described["normalizer"] is None
