"""Random small families over tokens, and random items for them: what the equalities of decoding are tested over."""

from __future__ import annotations

import codecs
import functools
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from hypothesis import strategies as st

from miaobi import networks
from miaobi.families.autoregressive import Autoregressive
from miaobi.families.ngram import NGram
from miaobi.families.seq2seq import Seq2Seq
from miaobi.networks import ReadingNetwork, TokenNetwork
from miaobi.types import Batch, Field, Form, Spec

COUNTS = "ngram"
NAMES = [*(n for n in networks.names() if issubclass(networks.find(n), TokenNetwork)), COUNTS]
READING = [n for n in NAMES if n != COUNTS and issubclass(networks.find(n), ReadingNetwork)]
WORDS = [b"a", b"b", b"ab", b" ", b"\xc3", b"\xa9", b"\xe4\xb8\x96", b"ba", b"\xe7\x95", b"\x8c"]
"""Of some tokens it takes two to make a character."""
SIZE = len(WORDS)
STEM = [3, 1, 4, 1, 5, 2, 2, 6, 5, 3, 5, 8, 7, 7, 3, 2, 0, 8]
LABEL = Spec(Form.LABEL, vocabulary=3)
TITLE = Spec(Form.TOKENS, vocabulary=7, max_length=4)


class Bytes:
    """The text of tokens, as far as streaming needs it."""

    def streamer(self) -> Bytes:
        return Bytes()

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        return self._decoder.decode(WORDS[token])

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


@dataclass(frozen=True)
class World:
    """A family, and how it was made."""

    family: Any
    name: str
    made: tuple[Any, ...]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"build{self.made}")

    @property
    def reads(self) -> bool:
        return isinstance(self.family, Seq2Seq)


@dataclass(frozen=True)
class Item:
    """What one item is made from; ``leaves`` after so many steps, if ever."""

    prefix: tuple[int, ...]
    label: int | None
    title: tuple[int, ...] | None
    controls: Any
    seed: int
    waits: int = 0
    leaves: int | None = None

    def fields(self, world: World) -> dict[str, Field]:
        found = {}
        if "label" in world.family.conditions:
            values, there = torch.tensor([self.label or 0]), torch.tensor([self.label is not None])
            found["label"] = Field(values, present=there)
        if "title" in world.family.conditions:
            words = self.title or (0,)
            there = torch.tensor([self.title is not None])
            found["title"] = Field(torch.tensor([words]), lengths=torch.tensor([len(words)]), present=there)
        return found

    def start(self) -> Field | None:
        return Field(torch.tensor([self.prefix])) if self.prefix else None


@functools.cache
def build(name: str, target: Spec, labelled: bool, titled: bool, shape: tuple[tuple[str, Any], ...]) -> World:
    """A family of random weights, or counts of random items."""
    conditions = {"label": LABEL} if labelled else {}
    if titled:
        conditions["title"] = replace(TITLE, shared=bool(dict(shape).get("copying")))
    torch.manual_seed(7)
    family = _counts(target, conditions, dict(shape)) if name == COUNTS else _network(name, target, conditions, shape)
    family.tokenizer = Bytes()
    return World(family.eval(), name, (name, target, labelled, titled, shape))


def _counts(target: Spec, conditions: dict[str, Spec], shape: dict[str, Any]) -> NGram:
    family = NGram(NGram.Config(order=1 + shape.get("depth", 1)), {}, {}, target, conditions)
    lengths = None if target.fixed or target.stream else torch.arange(20) % target.max_length + 1
    labels = {"label": Field(torch.arange(20) % 3, present=torch.arange(20) % 5 > 0)} if conditions else {}
    family.observe(Batch(Field(torch.randint(0, SIZE, (20, target.max_length)), lengths=lengths), labels))
    return family


def _network(name: str, target: Spec, conditions: dict[str, Spec], shape: tuple[tuple[str, Any], ...]) -> Any:
    kind = networks.find(name)
    family = Seq2Seq if issubclass(kind, ReadingNetwork) else Autoregressive
    config = family.Config()
    port = family.ports(config, target, conditions)["network"]
    preset = kind.preset("tiny", port.source, port.target, port.conditions)
    made = kind(type(preset)(**dict(shape)), port.source, port.target, port.conditions)
    with torch.no_grad():
        for parameter in made.parameters():
            # Zero-initialised heads and branches would hide what is behind them.
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    return family(config, {"network": made}, {}, target, conditions)


@st.composite
def worlds(draw: Any, name: str) -> World:
    """A target of any kind, some conditions, and a network of any small shape."""
    reading = name in READING
    kind = draw(st.sampled_from(["item", "item", "own", "fixed"] + ["stream"] * (not reading)))
    own = {"begin": 8, "end": 9, "unknown": 0} if kind == "own" else {}
    target = Spec(
        Form.TOKENS,
        vocabulary=SIZE,
        max_length=draw(st.sampled_from([9, 26])),
        fixed=kind == "fixed",
        **({"stream": True, "begin": 3} if kind == "stream" else own),
    )
    labelled, titled = draw(st.booleans()), reading or (name != COUNTS and draw(st.booleans()))
    return build(name, target, labelled, titled, draw(shapes(name)))


@st.composite
def shapes(draw: Any, name: str) -> tuple[tuple[str, Any], ...]:
    """Options of the network's shape, as far as it has them."""
    heads = draw(st.sampled_from([1, 2, 4]))
    options = {
        "width": st.sampled_from([8, 16]),
        "hidden": st.sampled_from([8, 12]),
        "depth": st.integers(1, 2),
        "encoder_depth": st.integers(1, 2),
        "heads": st.just(heads),
        "key_heads": st.sampled_from([None, 1, heads]),
        "head_width": st.sampled_from([None, 6]),
        "inner": st.just(16),
        "qk_norm": st.booleans(),
        "tied": st.booleans(),
        "copying": st.booleans(),
        "kernel": st.integers(2, 4),
        "cycle": st.integers(1, 2),
    }
    if name == COUNTS:
        return (("depth", draw(st.integers(0, 3))),)
    known = networks.find(name).Config.model_fields
    words = {n: st.sampled_from(get_args(f.annotation)) for n, f in known.items() if n == "score"}
    return tuple((n, draw(options[n] if n in options else words[n])) for n in known if n in options or n in words)


@st.composite
def items(draw: Any, world: World, stem: int, **fixed: Any) -> Item:
    """An item; ``stem`` is how much of its beginning is everybody's."""
    target = world.family.target
    prefix = STEM[:stem] + draw(st.lists(st.integers(0, SIZE - 1), max_size=3))
    if target.fixed:
        prefix = prefix[: target.max_length - 1]
    if target.stream:
        prefix = prefix or [3]
    title = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)) if draw(st.integers(0, 3)) else None
    return Item(
        prefix=tuple(prefix),
        label=draw(st.sampled_from([None, 0, 1, 2])),
        title=None if title is None else tuple(title),
        controls=world.family.Controls(**(fixed or draw(controls(world, len(prefix))))),
        seed=draw(st.integers(0, 2**40)),
        waits=draw(st.integers(0, 3)),
        leaves=draw(st.sampled_from([None, None, None, 2])),
    )


@st.composite
def controls(draw: Any, world: World, fed: int) -> dict[str, Any]:
    """Any controls that go together; few at once, so that each has a say."""
    target, layout = world.family.target, world.family.layout
    chosen: dict[str, Any] = {"temperature": draw(st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 2.0]))}
    if not target.fixed:
        chosen["max_length"] = fed + 1 + draw(st.integers(0, 8))
    also = {
        "repetition_penalty": st.sampled_from([0.7, 1.5]),
        "no_repeat_ngram": st.integers(1 if layout.end is not None else 2, 3),
        "logit_bias": st.dictionaries(st.integers(0, SIZE - 1), st.sampled_from([-100.0, -2.0, 1.5]), max_size=3),
        "stop": st.lists(st.sampled_from(["b", "aa", "é", "世a", "bab"]), min_size=1, max_size=2),
    }
    if chosen["temperature"]:
        also |= {
            "top_k": st.integers(1, 6),
            "top_p": st.sampled_from([0.3, 0.8]),
            "min_p": st.sampled_from([0.1, 0.5]),
            "best_of": st.integers(2, 3),
        }
    if layout.end is not None:
        also["min_length"] = st.integers(1, chosen["max_length"])
    if world.family.conditions:
        also["guidance"] = st.sampled_from([0.0, 0.5, 3.0])
    for name in draw(st.lists(st.sampled_from(sorted(also)), max_size=3, unique=True)):
        chosen[name] = draw(also[name])
    return chosen


@st.composite
def scenes(draw: Any, name: str, **fixed: Any) -> tuple[World, list[Item]]:
    """A world, and items that begin alike in about half of the scenes."""
    world = draw(worlds(name))
    stem = draw(st.sampled_from([0, 0, len(STEM)])) if world.family.target.max_length > len(STEM) else 0
    return world, draw(st.lists(items(world, stem, **fixed), min_size=1, max_size=3))
