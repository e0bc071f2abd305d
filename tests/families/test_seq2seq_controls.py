"""Sequence to sequence under every control of text: constraints, stop strings, penalties, best of several, streams."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import pytest
import torch

from miaobi import networks
from miaobi.errors import RequestError
from miaobi.families.seq2seq import Seq2Seq
from miaobi.generation import generate, stream
from miaobi.modalities.text import Text
from miaobi.models import Model
from miaobi.networks import ReadingNetwork

NETWORKS = [name for name in networks.names() if issubclass(networks.find(name), ReadingNetwork)]
each = pytest.mark.parametrize("name", NETWORKS)
LIMIT = 30
SOURCES = ("read this", "and that 世界")


@functools.cache
def model(name: str) -> Model:
    """It reads a text and writes one, by random weights."""
    text = Text(Text.Config(tokenizer="character", max_length=LIMIT))
    text.fit(["".join(map(chr, range(32, 127))) + "世界é"] * 3, stream=False)
    specs = {"source": text.spec}
    port = Seq2Seq.ports(Seq2Seq.Config(), text.spec, specs)["network"]
    torch.manual_seed(0)
    kind = networks.find(name)
    preset = kind.preset("tiny", port.source, port.target, port.conditions)
    network = kind(preset, port.source, port.target, port.conditions)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return Model(Seq2Seq(Seq2Seq.Config(), {"network": network}, {}, text.spec, specs).eval(), text, {"source": text})


def write(name: str, source: str = SOURCES[0], n: int = 8, prompt: str | None = None, **controls: Any) -> list[str]:
    made = generate(model(name), prompt=prompt, conditions={"source": source}, controls=controls, n=n)
    return [str(one.text) for one in made]


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


def is_of_schema(text: str) -> bool:
    value = json.loads(text)
    return list(value) == ["a", "b"] and type(value["a"]) is int and type(value["b"]) is bool


CASES: list[Any] = [
    ({"regex": r"[a-z]{3,9}( [a-z]+)*[.!]"}, re.compile(r"[a-z]{3,9}( [a-z]+)*[.!]").fullmatch),
    ({"choices": ["yes", "no", "maybe 世界"]}, ["yes", "no", "maybe 世界"].__contains__),
    ({"json_schema": SCHEMA}, is_of_schema),
]
IDS = ["regex", "choices", "json"]


@each
@pytest.mark.parametrize(("controls", "holds"), CASES, ids=IDS)
@pytest.mark.parametrize("others", [{}, {"guidance": 3.0, "temperature": 2.0, "best_of": 2}, {"temperature": 0}])
def test_a_constraint_holds_even_at_the_limit(name, controls, holds, others):
    for source in SOURCES:
        assert all(map(holds, write(name, source, max_length=24, **controls, **others)))


@each
def test_it_is_refused_where_it_does_not_fit(name):
    with pytest.raises(RequestError, match=r"too long.*at least 13 tokens"):
        write(name, max_length=10, regex="exactly this!")
    assert write(name, n=2, max_length=13, regex="exactly this!") == ["exactly this!"] * 2


@each
@pytest.mark.parametrize(("controls", "_"), CASES, ids=IDS)
def test_a_constraint_is_of_what_is_drawn_and_streams(name, controls, _):
    (whole,) = write(name, n=1, prompt="so: ", **controls)
    pieces = list(stream(model(name), prompt="so: ", conditions={"source": SOURCES[0]}, controls=controls))
    assert "so: " + "".join(pieces) == whole
    assert len(pieces) > 1


@each
def test_it_stops_before_a_stop_string_and_streams_the_same(name):
    stops = {"stop": ["e", "世"], "text_bias": {"e": 4.0}}
    plain, stopped = write(name, text_bias={"e": 4.0}), write(name, **stops)
    assert any("e" in text for text in plain)
    assert stopped == [re.split("e|世", text)[0] for text in plain]
    pieces = stream(model(name), conditions={"source": SOURCES[0]}, controls=stops)
    assert "".join(pieces) == stopped[0]


@each
def test_penalties_and_lengths(name):
    for text in write(name, no_repeat_ngram=1, temperature=0.5):
        assert len(set(text)) == len(text)
    assert all(set(text) <= {"z"} for text in write(name, text_bias={"z": 100.0}))
    assert min(map(len, write(name, min_length=20))) >= 20
    repeated = [sum(map(len, write(name, repetition_penalty=p, temperature=0.7))) for p in (0.2, 5.0)]
    distinct = [len(set("".join(write(name, repetition_penalty=p, temperature=0.7)))) for p in (0.2, 5.0)]
    assert distinct[0] / repeated[0] < distinct[1] / repeated[1]


@each
def test_the_best_of_several_is_likelier_than_the_first(name):
    family, fields = model(name).family, {"source": _field(name)}

    def mean(**controls: Any) -> torch.Tensor:
        made: Any = family.sample(fields, controls=family.Controls(**controls), seeds=torch.arange(6))
        return made.log_probs / (made.lengths + (made.lengths < LIMIT))

    assert (mean(best_of=6) >= mean() - 1e-5).all()
    assert (mean(best_of=6) > mean() + 1e-3).any()


def _field(name: str) -> Any:
    text = model(name).modality
    return text.collate([text.encode(SOURCES[0])] * 6)


@each
def test_what_is_read_matters_to_a_stream(name):
    first, second = ("".join(stream(model(name), conditions={"source": one})) for one in SOURCES)
    assert first != second
    assert first == write(name, n=1)[0]
    assert second == write(name, SOURCES[1], n=1)[0]
