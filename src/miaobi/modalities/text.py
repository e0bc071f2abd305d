"""Text of any length and language, as characters or sub-words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field as Value
from pydantic import field_validator, model_validator
from torch import Tensor

from miaobi.errors import CorruptFile, DataError
from miaobi.modalities._base import Item, Modality, Raw, collate_tokens, quantiles, split_tokens
from miaobi.modalities._characters import Characters
from miaobi.modalities._minhash import jaccard, signature
from miaobi.modalities._plain_text import Normalisation, read_text
from miaobi.modalities._published import FORMS, is_published, open_published
from miaobi.modalities._sample import EvenSample
from miaobi.modalities._scripts import languages
from miaobi.modalities._state import fitted, read_json, write_json
from miaobi.modalities._subwords import SMALLEST, Subwords
from miaobi.modalities._tokenizers import Streamer, Tokenizer
from miaobi.types import Field, Form, Settings, Spec

_FILE = "text.json"
_VOCABULARY = {"character": 50_000, "bpe": 4096}
_MOST_TOKENS = 1024
_CHARACTERS_A_TOKEN = 16


class Text(Modality):
    """Text; an item is a ``str``.

    Reading normalises to NFC with line feeds between lines and drops control characters. Encoding cuts an item to
    ``max_length`` tokens; ``describe`` says how many are cut. A stream is one long text, encoded whole.
    """

    class Config(Settings):
        """The modality's options in a recipe."""

        tokenizer: str | None = Value(None, description=f"character (the default), bpe (trained on the data), {FORMS}")
        vocabulary: int | None = Value(
            None,
            ge=2,
            le=1_000_000,
            description="most tokens; default 50,000 characters (the rarer become one unknown token) or 4,096 of BPE",
        )
        max_length: int | None = Value(
            None, ge=1, le=1_000_000, description="tokens; default: the 99th percentile of the data, at most 1,024"
        )
        context: int = Value(256, ge=1, le=1_000_000, description="tokens of context of a stream's windows")
        normalise: Normalisation = Normalisation()

        @field_validator("tokenizer")
        @classmethod
        def _is_known(cls, value: str | None) -> str | None:
            if value is None or value in _VOCABULARY or is_published(value):
                return value
            near = difflib.get_close_matches(value, _VOCABULARY, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"unknown tokenizer; {hint}allowed: {', '.join(_VOCABULARY)}, {FORMS}")

        @model_validator(mode="after")
        def _vocabulary_fits(self) -> Self:
            if self.vocabulary is not None and self.tokenizer == "bpe" and self.vocabulary < SMALLEST:
                raise ValueError(f"byte-level BPE starts from {SMALLEST} bytes: vocabulary must be at least that")
            if self.vocabulary is not None and self.tokenizer not in (None, *_VOCABULARY):
                raise ValueError("a published tokenizer has its own vocabulary; leave vocabulary out")
            return self

    form = Form.TOKENS
    unit = "byte"
    extensions: ClassVar[frozenset[str]] = frozenset({".txt", ".text", ".md"})
    metrics = ("likelihood", "diversity")
    extractor = "character_ngrams"
    quality = "statistics.least_overlap"
    spelling = frozenset({"tokenizer", "vocabulary"})

    def __init__(self, config: Settings) -> None:
        super().__init__(config)
        self._tokenizer: Tokenizer | None = None
        self._max_length = 0
        self._stream = False
        self._cut = 0.0

    @property
    def tokenizer(self) -> Tokenizer:
        """The fitted tokenizer."""
        return fitted(self._tokenizer, self)

    @property
    def spec(self) -> Spec:
        tokenizer = self.tokenizer
        begin = tokenizer.newline if self._stream else tokenizer.begin
        return Spec(
            Form.TOKENS,
            vocabulary=tokenizer.size,
            max_length=self._max_length,
            stream=self._stream,
            begin=tokenizer.begin if begin is None else begin,
            end=None if self._stream else tokenizer.end,
            unknown=tokenizer.unknown,
        )

    def read(self, raw: Raw) -> str:
        return read_text(raw, self.config.normalise)

    def pack(self, item: Item) -> bytes:
        return str(item).encode("utf-8")

    def unpack(self, data: bytes) -> str:
        return data.decode("utf-8")

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Learn the vocabulary and the longest length; a stream's length is a window, ``context + 1`` tokens.

        Raises:
            DataError: no items, or a published tokenizer that cannot be read.
            FetchFailed: a published tokenizer that cannot be fetched.
        """
        sample: EvenSample[str] = EvenSample()
        clip = _CHARACTERS_A_TOKEN * (self.config.max_length or _MOST_TOKENS)
        self._tokenizer = self._learn(sample.watch(items, lambda text: text[:clip]))
        if not sample.kept:
            raise DataError("there are no texts to learn from", cure="check data.source and data.content")
        self._stream = stream
        if stream:
            self._max_length, self._cut = self.config.context + 1, 0.0
            return
        lengths = np.array([len(self._tokenizer.encode(text)) for text in sample.kept])
        usual = int(np.quantile(lengths, 0.99, method="higher"))
        self._max_length = self.config.max_length or max(1, min(usual, _MOST_TOKENS))
        self._cut = float((lengths > self._max_length).mean())

    def encode(self, item: Item) -> np.ndarray:
        """``int64 [L]``; at most ``max_length`` of them unless the text is a stream."""
        if self._stream:
            return self.tokenizer.encode(item)
        found: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
        left = self._max_length
        for piece in self.tokenizer.pieces(item):
            found.append(piece[:left])
            left -= len(found[-1])
            if left == 0:
                break
        return np.concatenate(found)

    def encode_prompt(self, item: Item) -> np.ndarray:
        tokens, unknown = self.tokenizer.encode(item), self.tokenizer.unknown
        if not len(tokens):
            raise DataError("the prompt is empty", cure="leave it out, or give the start of a text")
        if unknown is not None and (tokens == unknown).any():
            strange = sorted({letter for letter in str(item) if unknown in self.tokenizer.encode(letter)})
            raise DataError(
                "the prompt has characters that are not in the model's vocabulary",
                given="".join(strange),
                cure="leave them out, or train on texts that have them",
            )
        return tokens

    def pieces(self, item: Item) -> Iterator[np.ndarray]:
        """The tokens of a stream, ``int64`` a stretch at a time; together they are `encode`'s."""
        return self.tokenizer.pieces(item)

    def decode(self, array: np.ndarray) -> str:
        return self.tokenizer.decode(array)

    def streamer(self) -> Streamer:
        """An incremental decoder for tokens that arrive one at a time."""
        return self.tokenizer.streamer()

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        return collate_tokens(arrays)

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        return split_tokens(values, lengths)

    def write(self, item: Item, stem: Path) -> list[Path]:
        path = stem.with_name(f"{stem.name}.txt")
        path.write_bytes(self.pack(item))
        return [path]

    def units(self, items: Sequence[Item]) -> Tensor:
        """UTF-8 bytes of what is predicted: a cut item up to the cut, a stream's window without its first token."""
        return torch.tensor([self._predicted_bytes(item) for item in items], dtype=torch.float64)

    def length(self, item: Item) -> int:
        return len(item)

    def signature(self, item: Item) -> np.ndarray:
        return signature(item)

    def similarity(self, left: Item, right: Item) -> float:
        """Jaccard similarity of the sets of character 5-grams."""
        return jaccard(left, right)

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        if not items:
            return {}
        found: dict[str, Any] = {
            "length": quantiles([len(item) for item in items]),
            "languages": languages(items),
            "distinct_characters": len(set().union(*items)),
        }
        if self._tokenizer is not None:
            found |= {"vocabulary": self._tokenizer.size, "max_length": self._max_length, "cut": self._cut}
        return found

    def text(self, item: Item) -> str:
        return str(item)

    def save(self, folder: Path) -> None:
        tokenizer = self.tokenizer
        kind = "character" if isinstance(tokenizer, Characters) else "subword"
        state = {"tokenizer": kind, "max_length": self._max_length, "stream": self._stream, "cut": self._cut}
        chat = tokenizer.chat_template if isinstance(tokenizer, Subwords) else None
        said = {} if chat is None else {"chat_template": chat}
        write_json(folder / _FILE, {**state, "begin": tokenizer.begin, "end": tokenizer.end, **said})
        tokenizer.save(folder)

    def load(self, folder: Path) -> None:
        state = read_json(folder / _FILE)
        try:
            character = {"character": True, "subword": False}[state["tokenizer"]]
            self._max_length, self._stream = int(state["max_length"]), bool(state["stream"])
            self._cut = float(state["cut"])
            begin, end, chat = state["begin"], state["end"], state.get("chat_template")
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFile(f"{folder / _FILE} does not describe a text modality: {error!r}") from None
        self._tokenizer = Characters.load(folder) if character else Subwords.load(folder, begin, end, chat)

    def _learn(self, texts: Iterator[str]) -> Tokenizer:
        name = self.config.tokenizer or "character"
        if name not in _VOCABULARY:
            # Nothing to learn, but the lengths are still to be seen.
            for _ in texts:
                pass
            return open_published(name)
        limit = self.config.vocabulary or _VOCABULARY[name]
        return Characters.learn(texts, limit) if name == "character" else Subwords.learn(texts, limit)

    def _predicted_bytes(self, item: str) -> int:
        if self._stream:
            return len(item[self.tokenizer.covered(item, 1) :].encode("utf-8"))
        return len(item[: self.tokenizer.covered(item, self._max_length)].encode("utf-8"))
