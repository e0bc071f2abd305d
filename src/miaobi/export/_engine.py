"""Our tokenizers as engines of the ``tokenizers`` library, which is what other programs read."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Engine

from miaobi.errors import Unsupported
from miaobi.modalities._characters import Characters
from miaobi.modalities._subwords import FILE
from miaobi.modalities._tokenizers import Tokenizer


def engine_of(tokenizer: Tokenizer) -> Engine:
    """An engine that encodes and decodes as ``tokenizer`` does, but for special tokens spelt in a text."""
    if isinstance(tokenizer, Characters):
        return _of_characters(tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return Engine.from_file(str(Path(folder) / FILE))


def with_specials(engine: Engine, specials: Mapping[int, str]) -> Engine:
    """The engine with special tokens behind its vocabulary.

    Raises:
        Unsupported: the engine's ids have gaps, so that a new token would get another id.
    """
    for token, name in sorted(specials.items()):
        engine.add_special_tokens([AddedToken(name, special=True, normalized=False)])
        if engine.token_to_id(name) != token:
            raise Unsupported(
                "the tokenizer's ids have gaps, so nothing can be added behind them",
                given=f"{name} would be {engine.token_to_id(name)} and not {token}",
                cure="train with a tokenizer of consecutive ids, such as bpe or character",
            )
    return engine


def _of_characters(tokenizer: Characters) -> Engine:
    """Every character a word of its own; the unknown one is a word too, so that it is decoded as it is here."""
    characters = [tokenizer.decode(np.array([token])) for token in range(tokenizer.size)]
    vocabulary = {character: token for token, character in enumerate(characters)}
    engine = Engine(models.WordLevel(vocabulary, unk_token=characters[tokenizer.unknown]))
    engine.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    engine.decoder = decoders.Fuse()
    return engine
