"""Dialogues, of which the assistant's answers are learnt."""

from __future__ import annotations

import bisect
import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Value
from pydantic import field_validator
from torch import Tensor

from miaobi.errors import CorruptFile, DataError, UnreadableItem, Unsupported
from miaobi.modalities._base import Item, Modality, Raw, collate_tokens, quantiles, split_tokens
from miaobi.modalities._dialogue import CHATML, Message, dialogue_tokens, read_messages
from miaobi.modalities._dialogue_rows import Format, columns_of, messages_of
from miaobi.modalities._minhash import jaccard, signature
from miaobi.modalities._plain_text import Normalisation, read_text
from miaobi.modalities._published import FORMS, is_published, open_published
from miaobi.modalities._sample import EvenSample
from miaobi.modalities._scripts import languages
from miaobi.modalities._state import fitted, read_json, write_json
from miaobi.modalities._subwords import SMALLEST, Subwords
from miaobi.modalities._turns import MARKS, Turns
from miaobi.types import Field, Form, Settings, Spec

_FILE = "chat.json"
_VOCABULARY = 4096
_MOST_TOKENS = 1024
_STEP = 64

Dialogue = tuple[Message, ...]


class Chat(Modality):
    """Dialogues; an item is a tuple of `Message`, users and assistants in turn, at most one system message first.

    Its tokens are those of the tokenizer's own chat template, ChatML where it has none, up to the end of the last
    answer. Answers are learnt, each with the token that ends it; the rest is context. An array holds twice each token,
    plus one where it is learnt.

    A dialogue longer than ``max_length`` loses its oldest questions with their answers, as few as are needed, never the
    system message; one whose last exchange alone is too long is left out.
    """

    class Config(Settings):
        """The modality's options in a recipe."""

        format: Format | None = Value(None, description="what the columns hold; default: found by their names")
        tokenizer: str = Value("bpe", description=f"bpe (the default, trained on the data), {FORMS}")
        vocabulary: int = Value(_VOCABULARY, ge=SMALLEST + len(MARKS), le=1_000_000, description="most tokens of BPE")
        max_length: int | None = Value(
            None, ge=2, le=1_000_000, description="tokens; default: what the longest dialogue needs, at most 1,024"
        )
        too_long: Literal["drop_turns", "leave_out"] = Value(
            "drop_turns", description="a dialogue that is too long: without its oldest exchanges, or not at all"
        )
        normalise: Normalisation = Normalisation()

        @field_validator("tokenizer")
        @classmethod
        def _is_known(cls, value: str) -> str:
            if value != "bpe" and not is_published(value):
                raise ValueError(f"unknown tokenizer; allowed: bpe, {FORMS}")
            return value

    form = Form.TOKENS
    unit = "byte"
    metrics = ("likelihood",)
    marks = 2
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._tokenizer: Subwords | None = None
        self._turns: Turns | None = None
        self._max_length = 0

    @property
    def tokenizer(self) -> Subwords:
        """The fitted tokenizer, with the chat template in use."""
        return fitted(self._tokenizer, self)

    @property
    def turns(self) -> Turns:
        """How its template divides tokens into turns."""
        return fitted(self._turns, self)

    @property
    def spec(self) -> Spec:
        tokenizer = self.tokenizer
        return Spec(
            Form.TOKENS,
            vocabulary=tokenizer.size,
            max_length=self._max_length,
            begin=tokenizer.begin,
            end=self.turns.end,
        )

    def columns_of(self, columns: Sequence[str], content: str | None) -> tuple[str, ...]:
        return columns_of(self.config.format, columns, content)

    def read(self, raw: Raw) -> Dialogue:
        """A row with a dialogue that has an answer, a list of messages, or what a user says."""
        if isinstance(raw, str):
            return (Message("user", read_text(raw, self.config.normalise)),)
        made = self._checked(messages_of(raw) if isinstance(raw, Mapping) else raw)
        if isinstance(raw, Mapping) and not _answers(made):
            raise UnreadableItem("the dialogue has no answer of the assistant, so there is nothing to learn")
        return made

    def pack(self, item: Item) -> bytes:
        return json.dumps([*map(list, item)], ensure_ascii=False, separators=(",", ":")).encode("utf-8")

    def unpack(self, data: bytes) -> Dialogue:
        return tuple(Message(*said) for said in json.loads(data))

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Learn the vocabulary, unless it was published, and the longest length.

        Raises:
            DataError: no items, or a published tokenizer that cannot be read.
            FetchFailed: a published tokenizer that cannot be fetched.
            Unsupported: a stream, or a tokenizer that nothing ends an answer of.
        """
        if stream:
            raise Unsupported("one long text is no dialogues", cure="use a table, with a row for each dialogue")
        sample: EvenSample[Dialogue] = EvenSample()
        tokenizer = self._learn(sample.watch(items, lambda item: item))
        if not sample.kept:
            raise DataError("there are no dialogues to learn from", cure="check data.source and modality.format")
        self._tokenizer, self._turns = tokenizer, Turns(tokenizer)
        lengths = [len(self.turns.learnt(answered)[0]) for answered in map(_answered, sample.kept) if answered]
        # Held-out dialogues may be a little longer than those that are learnt from.
        usual = _STEP * (max(lengths, default=1) // _STEP + 1)
        self._max_length = self.config.max_length or min(usual, _MOST_TOKENS)

    def encode(self, item: Item) -> np.ndarray:
        """``int64 [L]``, at most ``max_length``: ``2 * token + learnt``.

        Raises:
            DataError: no answer, or too long.
        """
        tokens, learnt, _ = self._kept(item)
        return 2 * tokens + learnt

    def encode_prompt(self, item: Item) -> np.ndarray:
        """A dialogue up to where its next answer begins.

        Raises:
            DataError: it ends with an answer.
        """
        if item[-1].role != "user":
            raise DataError("nothing was asked", given=f"a dialogue that ends with the {item[-1].role}")
        return 2 * dialogue_tokens(self.tokenizer, item)

    def decode(self, array: np.ndarray) -> Dialogue:
        return self.turns.read(np.asarray(array) // 2)

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        """Tokens, with the weight 1 where one is learnt and 0 elsewhere."""
        packed = collate_tokens(arrays)
        return Field(packed.values // 2, packed.lengths, weight=(packed.values % 2).float())

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        """Arrays of tokens, of which none is marked as learnt: a sample does not say."""
        return split_tokens(2 * values, lengths)

    def write(self, item: Item, stem: Path) -> list[Path]:
        """A table of one row, which can be read again."""
        path = stem.with_name(f"{stem.name}.jsonl")
        row = {"messages": [message._asdict() for message in item]}
        path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
        return [path]

    def units(self, items: Sequence[Item]) -> Tensor:
        """UTF-8 bytes of the answers that are learnt."""
        kept = [self._kept(item)[2] for item in items]
        return torch.tensor(
            [sum(len(text.encode("utf-8")) for text in _answers(item)) for item in kept], dtype=torch.float64
        )

    def length(self, item: Item) -> int:
        return sum(len(message.content) for message in item)

    def signature(self, item: Item) -> np.ndarray:
        return signature(_whole(item))

    def similarity(self, left: Item, right: Item) -> float:
        """Jaccard similarity of the sets of character 5-grams."""
        return jaccard(_whole(left), _whole(right))

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        if not items:
            return {}
        found: dict[str, Any] = {
            "length": quantiles([self.length(item) for item in items]),
            "turns": quantiles([len(item) for item in items]),
            "systems": sum(item[0].role == "system" for item in items) / len(items),
            "languages": languages([_whole(item) for item in items]),
        }
        if self._tokenizer is not None:
            found |= {
                "vocabulary": self.tokenizer.size,
                "max_length": self._max_length,
                "shortened": self._share(items),
            }
        return found

    def text(self, item: Item) -> str:
        """The last answer; of a dialogue that waits for one, nothing."""
        return item[-1].content if item[-1].role == "assistant" else ""

    def clipped(self, item: Item, length: int | None) -> Dialogue:
        return (*item[:-1], item[-1]._replace(content=item[-1].content[:length]))

    def html(self, item: Item) -> str:
        rows = (f"<p><b>{message.role}</b> {html.escape(message.content)}</p>" for message in item)
        return f"<div>{''.join(rows)}</div>"

    def save(self, folder: Path) -> None:
        tokenizer = self.tokenizer
        state = {"max_length": self._max_length, "begin": tokenizer.begin, "end": tokenizer.end}
        write_json(folder / _FILE, {**state, "chat_template": tokenizer.chat_template})
        tokenizer.save(folder)

    def load(self, folder: Path) -> None:
        state = read_json(folder / _FILE)
        try:
            self._max_length = int(state["max_length"])
            begin, end, template = state["begin"], state["end"], str(state["chat_template"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFile(f"{folder / _FILE} does not describe a chat modality: {error!r}") from None
        self._tokenizer = Subwords.load(folder, begin, end, template)
        self._turns = Turns(self._tokenizer)

    def _learn(self, items: Iterator[Dialogue]) -> Subwords:
        if self.config.tokenizer != "bpe":
            # Nothing to learn, but the lengths are still to be seen.
            for _ in items:
                pass
            return open_published(self.config.tokenizer)
        texts = (message.content for item in items for message in item)
        made = Subwords.learn(texts, self.config.vocabulary - len(MARKS)).with_special(MARKS, MARKS[1])
        made.chat_template = CHATML
        return made

    def _checked(self, found: Any) -> Dialogue:
        try:
            made = read_messages(found)
        except DataError as error:
            raise UnreadableItem(error.message) from None
        return tuple(Message(one.role, read_text(one.content, self.config.normalise)) for one in made)

    def _kept(self, item: Dialogue) -> tuple[np.ndarray, np.ndarray, Dialogue]:
        """Tokens, whether each is learnt, and the messages of what of a dialogue is short enough."""
        said = _answered(item)
        if not said:
            raise DataError("the dialogue has no answer of the assistant")
        tokens, learnt = self.turns.learnt(said)
        if len(tokens) <= self._max_length:
            return tokens, learnt, said
        shorter = [] if self.config.too_long == "leave_out" else _shortened(said)
        # More dropped is never longer, so the fewest are found by halving.
        place = bisect.bisect_left(
            range(len(shorter)), True, key=lambda n: len(self.turns.learnt(shorter[n])[0]) <= self._max_length
        )
        if place == len(shorter):
            raise DataError(
                "the last exchange of the dialogue is too long" if shorter else "the dialogue is too long",
                given=f"{len(self.turns.learnt((shorter or [said])[-1])[0])} tokens",
                allowed=f"modality.max_length = {self._max_length}",
            )
        return *self.turns.learnt(shorter[place]), shorter[place]

    def _share(self, items: Sequence[Dialogue]) -> float:
        """Of the dialogues that are longer than ``max_length``."""
        said = [answered for answered in map(_answered, items) if answered]
        longer = sum(len(self.turns.learnt(one)[0]) > self._max_length for one in said)
        return longer / max(1, len(said))


def _answered(item: Dialogue) -> Dialogue:
    """A dialogue up to its last answer: nobody answered what follows, so nothing is learnt of it."""
    last = max((place for place, message in enumerate(item, 1) if message.role == "assistant"), default=0)
    return item[:last]


def _answers(item: Dialogue) -> list[str]:
    return [message.content for message in item if message.role == "assistant"]


def _shortened(item: Dialogue) -> list[Dialogue]:
    """The dialogue without its oldest exchange, without its oldest two, and so on down to the last one."""
    first = 1 if item[0].role == "system" else 0
    return [(*item[:first], *item[start:]) for start in range(first + 2, len(item), 2)]


def _whole(item: Dialogue) -> str:
    return "\n".join(message.content for message in item)
