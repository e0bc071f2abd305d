"""Sub-word tokenizers on the ``tokenizers`` library: byte-level BPE trained here, or a published one.

Byte-level BPE: Sennrich et al. 2016, "Neural machine translation of rare words with subword units", over bytes as in
Radford et al. 2019, "Language models are unsupervised multitask learners".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, trainers

from miaobi.errors import CorruptFile
from miaobi.modalities._tokenizers import (
    REPLACEMENT,
    Streamer,
    Tokenizer,
    WindowStreamer,
    Words,
    words_in_context,
)

FILE = "tokenizer.json"
SMALLEST = 256
"""Byte-level BPE starts from the 256 bytes."""
_STRETCH = 1 << 16
_WORD = 256


class Subwords(Tokenizer):
    """A ``tokenizers`` engine, without its truncation, padding and special tokens.

    Args:
        engine: changed in place: text that spells a special token is encoded as plain text.
        begin: id of its begin token.
        end: id of its end token.
        chat_template: how its publisher writes a dialogue: a Jinja template.

    Attributes:
        begins: whether its publisher has every text begin with the begin token.
    """

    def __init__(
        self, engine: Engine, begin: int | None = None, end: int | None = None, chat_template: str | None = None
    ) -> None:
        engine.no_truncation()
        engine.no_padding()
        engine.encode_special_tokens = True
        self._engine = engine
        self._markup: Engine | None = None
        self._vocabulary: dict[str, int] = engine.get_vocab(with_added_tokens=True)
        self.size = max(self._vocabulary.values(), default=-1) + 1
        self.begin, self.end, self.chat_template = begin, end, chat_template
        self.begins = begin is not None and engine.encode("a").ids[:1] == [begin]
        self._bytes = self._byte_table() if isinstance(engine.decoder, decoders.ByteLevel) else None

    @classmethod
    def learn(cls, texts: Iterable[str], vocabulary: int) -> Subwords:
        """Byte-level BPE with at most ``vocabulary`` tokens (at least 256); the same texts give the same tokens."""
        engine = Engine(models.BPE())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        engine.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        # Short stretches bound the length of a "word" where a text has no spaces: merging is quadratic in it.
        engine.train_from_iterator((part for text in texts for _, part in stretches(text, _WORD)), trainer)
        return cls(engine)

    @classmethod
    def load(cls, folder: Path, begin: int | None, end: int | None, chat_template: str | None = None) -> Subwords:
        """Read what `save` wrote.

        Raises:
            CorruptFile: not a tokenizer.
        """
        try:
            return cls(Engine.from_file(str(folder / FILE)), begin, end, chat_template)
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise CorruptFile(f"{folder / FILE} is not a tokenizer: {error}") from None

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(self._engine.to_str(pretty=False), encoding="utf-8")

    def pieces(self, text: str) -> Iterator[np.ndarray]:
        for _, part in stretches(text, _STRETCH):
            yield np.array(self._engine.encode(part, add_special_tokens=False).ids, dtype=np.int64)

    def same_as(self, other: Subwords) -> bool:
        """Whether both give every token the same number."""
        return self._vocabulary == other._vocabulary

    @property
    def special(self) -> list[int]:
        """The tokens that stand for no text."""
        return [token for token, added in self._engine.get_added_tokens_decoder().items() if added.special]

    def spelled(self, token: int) -> str:
        """How the vocabulary writes a token: of a special one, its name."""
        return str(self._engine.id_to_token(token))

    def with_special(self, names: Sequence[str], end: str) -> Subwords:
        """The same with more special tokens, one of which ends a text."""
        engine = Engine.from_str(self._engine.to_str())
        engine.add_special_tokens(list(names))
        return Subwords(engine, self.begin, engine.token_to_id(end), self.chat_template)

    def encode_markup(self, text: str) -> np.ndarray:
        """The ids of a text that is the author's own, in which a special token's name is that token."""
        if self._markup is None:
            # One of its own: switching the one that encodes what people write would be seen by other threads.
            markup = Engine.from_str(self._engine.to_str())
            markup.encode_special_tokens = False
            self._markup = markup
        return np.array(self._markup.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def decode(self, ids: np.ndarray) -> str:
        ids = np.asarray(ids, dtype=np.int64)
        if self._bytes is not None:
            return b"".join(map(self.token_bytes, ids.tolist())).decode("utf-8", "replace")
        breaks = np.flatnonzero((ids < 0) | (ids >= self.size))
        runs = np.split(ids, breaks)
        texts = [self._decode(runs[0]), *(self._decode(run[1:]) for run in runs[1:])]
        return REPLACEMENT.join(texts)

    def covered(self, text: str, count: int) -> int:
        for start, part in stretches(text, _STRETCH):
            found = self._engine.encode(part, add_special_tokens=False)
            if count <= len(found.ids):
                return start + (found.offsets[count - 1][1] if count else 0)
            count -= len(found.ids)
        return len(text)

    def token_bytes(self, token: int) -> bytes:
        if self._bytes is None:
            return self.decode(np.array([token])).encode()
        return self._bytes[token] if 0 <= token < self.size else REPLACEMENT.encode()

    @property
    def newline(self) -> int | None:
        return self._vocabulary.get("\n" if self._bytes is None else _letter(ord("\n")))

    def words(self) -> tuple[Words, Words]:
        return words_in_context(self.decode, self.size) if self._bytes is None else super().words()

    def streamer(self) -> Streamer:
        return WindowStreamer(self.decode) if self._bytes is None else super().streamer()

    def _decode(self, ids: np.ndarray) -> str:
        return str(self._engine.decode(ids.tolist(), skip_special_tokens=True))

    def _byte_table(self) -> list[bytes]:
        """The bytes of every id: those of its letters, nothing for a special token, U+FFFD for a gap between ids."""
        byte_of = {_letter(byte): byte for byte in range(256)}
        table = [REPLACEMENT.encode()] * self.size
        for token, index in self._vocabulary.items():
            known = all(letter in byte_of for letter in token)
            table[index] = bytes(byte_of[letter] for letter in token) if known else token.encode()
        for index, added in self._engine.get_added_tokens_decoder().items():
            table[index] = b"" if added.special else added.content.encode()
        return table


def stretches(text: str, size: int) -> Iterator[tuple[int, str]]:
    """Where each stretch starts, and the stretch, at most ``size`` characters: cut before a space, else a line break.

    A word keeps the space before it, so that a cut there leaves the tokens of most tokenizers as they were.
    """
    start = 0
    while start < len(text):
        end = min(start + size, len(text))
        if end < len(text):
            found = (text.rfind(mark, start + 1, end) for mark in " \n")
            end = next((cut for cut in found if cut > 0), end)
        yield start, text[start:end]
        start = end


def _letter(byte: int) -> str:
    """The printable character that byte-level tokenizers write a byte as: itself where it is visible in Latin-1."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return chr(byte) if byte in visible else chr(256 + sum(1 for other in range(byte) if other not in visible))
