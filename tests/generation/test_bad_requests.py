"""Requests that cannot be met: a clear error each, from Python, from the command line and from families themselves."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import miaobi
from miaobi.cli._app import run
from miaobi.errors import InvalidRecipe, MiaobiError, RequestError, RunFolderError
from miaobi.families import Family
from miaobi.families.ngram import NGram
from miaobi.generation import stream
from miaobi.models.folder import save
from miaobi.sampling.decoding import Engine, Output, Request, decode
from miaobi.sampling.token_controls import TokenControls
from miaobi.types import Batch, Field, Form, Spec
from tests.families import test_autoregressive, test_seq2seq
from tests.sampling.token_worlds import network, texts, writer
from tests.support.tensors import CONDITIONS, family_of


@dataclass(frozen=True)
class Bad:
    """A request, and what its refusal says."""

    words: str
    controls: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    model: str = "item"

    def arguments(self) -> list[str]:
        """The same on the command line."""
        found = [f"--control={name}={json.dumps(value)}" for name, value in self.controls.items()]
        for name, value in self.rest.items():
            found += ["-n", str(value)] if name == "n" else [f"--{name}={value}"]
        return found


TABLE = [
    Bad("no room for another token", rest={"prompt": "x" * 100}),
    Bad("no room for another token.*max_length = 3", {"max_length": 3}, {"prompt": "xyz"}),
    Bad("empty", rest={"prompt": ""}),
    Bad("not in the model's vocabulary.*Ω", rest={"prompt": "Ωmega"}),
    Bad("number of items|greater than or equal to 1", rest={"n": 0}),
    Bad("number of items|greater than or equal to 1", rest={"n": -3}),
    Bad("number of items", rest={"n": 10**30}),
    Bad("seed", rest={"seed": -1}),
    Bad("seed", rest={"seed": 2**70}),
    Bad("max_length", {"max_length": 0}),
    Bad("max_length", {"max_length": -1}),
    Bad("max_length", {"max_length": 10**12}),
    Bad("max_length", {"max_length": "long"}),
    Bad("temperature", {"temperature": "hot"}),
    Bad("temperature", {"temperature": -0.1}),
    Bad("repetition_penalty", {"repetition_penalty": 1e-44}),
    Bad("best_of", {"best_of": 10**6}),
    Bad("beams", {"beams": 10**6}),
    Bad("stop", {"stop": [""]}),
    Bad("stop", {"stop": 5}),
    Bad("stop", {"stop": ["a"] * 17}),
    Bad("no such token.*5000", {"logit_bias": {"5000": 1}}),
    Bad("no such token.*-1", {"logit_bias": {"-1": 1}}),
    Bad("not the text of one token.*Ω", {"text_bias": {"Ω": 1}}),
    Bad("not the text of one token", {"text_bias": {"": 1}}),
    Bad("min_length is more than the longest", {"min_length": 100}),
    Bad("min_length = 9 is more than max_length = 4", {"min_length": 9, "max_length": 4}),
    Bad("regex and choices contradict", {"regex": "a", "choices": ["a"]}),
    Bad("leave stop and min_length out", {"regex": "a", "stop": "b"}),
    Bad("leave temperature out, or beams", {"beams": 2, "temperature": 0.5}),
    Bad("leave best_of out, or beams", {"beams": 2, "best_of": 2}),
    Bad("leave regex out, or beams", {"beams": 2, "regex": "a"}),
    Bad("set beams too", {"length_penalty": 2.0}),
    Bad("top_k can change nothing", {"temperature": 0, "top_k": 5}),
    Bad("beyond what the network sees", {"beams": 2, "max_length": 10**6}),
    Bad("cannot be used|no text was found", {"regex": "a[^\\s\\S]"}),
    Bad("cannot be used", {"regex": "("}),
    Bad("no text was found.*regex", {"regex": "Ω+"}),
    Bad("too long.*60 tokens left.*150 tokens", {"choices": ["yes" * 50]}),
    Bad("too long.*json_schema|json_schema.*too long", {"json_schema": {"type": "string", "minLength": 70}}),
    Bad("too long.*2 tokens left", {"json_schema": {"type": "boolean"}, "max_length": 2}),
    Bad("json_schema", {"json_schema": "no schema"}),
    Bad("nothing to guide by", {"guidance": 2.0}),
    Bad("without a repetition.*up to 101 tokens", {"no_repeat_ngram": 1, "min_length": 150, "max_length": 200}),
    Bad("did you mean temperature", {"temprature": 1}),
    Bad("min_length holds back the end token", {"min_length": 5}, model="stream"),
    Bad("without a repetition", {"no_repeat_ngram": 1, "max_length": 200}, model="stream"),
]
table = pytest.mark.parametrize("bad", TABLE, ids=[f"{b.controls or b.rest}"[:60] for b in TABLE])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    made = {"item": writer(), "stream": writer(stream=True, context=30)}
    folders = {name: tmp_path_factory.mktemp("models") / name for name in made}
    for name, model in made.items():
        save(model, folders[name])
    return made, folders


@table
def test_python_refuses(models, bad):
    for make in (miaobi.generate, lambda *a, **k: list(stream(*a, **{n: v for n, v in k.items() if n != "n"}))):
        if make is not miaobi.generate and ("n" in bad.rest or "beams" in bad.controls or "best_of" in bad.controls):
            continue
        with pytest.raises(RequestError, match=f"(?s){bad.words}") as caught:
            make(models[0][bad.model], controls=bad.controls, **bad.rest)
        assert caught.value.exit_status == 2


@table
def test_the_command_line_refuses_with_status_two(models, bad, capsys):
    status = run(["generate", str(models[1][bad.model]), "-o", "out", *bad.arguments()])
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("error: ")
    assert re.search(f"(?s){bad.words}", err)


@pytest.mark.parametrize("bad", [b for b in TABLE if b.controls and not b.rest], ids=lambda b: str(b.controls)[:60])
def test_a_family_refuses(models, bad):
    family: Any = models[0][bad.model].family
    prefix = Field(torch.tensor([[1]])) if bad.model == "stream" else None
    with pytest.raises(RequestError, match=f"(?s){bad.words}"):
        family.sample(
            {}, prefix=prefix, controls=family.Controls.parse(bad.controls, "control"), seeds=torch.tensor([1])
        )


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"n": "3"}, InvalidRecipe, "not a whole number.*'3'"),
        ({"n": 2.5}, InvalidRecipe, "not a whole number"),
        ({"n": True}, InvalidRecipe, "not a whole number"),
        ({"n": None}, InvalidRecipe, "not a whole number"),
        ({"seed": 1.5}, InvalidRecipe, "not a whole number"),
        ({"seed": "x"}, InvalidRecipe, "not a whole number"),
        ({"controls": ["temperature"]}, InvalidRecipe, "control is not a mapping"),
        ({"controls": "temperature=1"}, InvalidRecipe, "control is not a mapping"),
        ({"controls": {1: 2}}, InvalidRecipe, "control.1"),
        ({"controls": {"temperature": float("nan")}}, InvalidRecipe, "finite"),
        ({"conditions": ["title"]}, InvalidRecipe, "not a mapping"),
        ({"prompt": 5}, RequestError, "not a text"),
        ({"prompt": "a\0b"}, RequestError, "NUL"),
        ({"prompt": "\ud800"}, RequestError, "half of a UTF-16 pair"),
        ({"out": 5}, RunFolderError, "output folder"),
        ({"mask": "x.png"}, RequestError, "needs a file to edit"),
        ({"edit": "x.png"}, RequestError, "edits nothing"),
    ],
)
def test_wrong_types_are_refused(models, options, kind, words):
    with pytest.raises(kind, match=words):
        miaobi.generate(models[0]["item"], **options)


@pytest.mark.parametrize(
    "arguments", [["-n", "many"], ["--seed", "x"], ["--control", "temperature"], ["--condition=a"]]
)
def test_arguments_that_mean_nothing_are_refused(models, arguments, capsys):
    assert run(["generate", str(models[1]["item"]), *arguments]) == 2
    assert "error: " in capsys.readouterr().err


UNTRAINED = "never learnt.*condition_drop is 0.*leave the control guidance out"


def conditioned(name: str, **options: Any) -> tuple[Family, dict[str, Field]]:
    if name == "diffusion":
        return family_of("diffusion", options, conditions=CONDITIONS), {}
    module = test_seq2seq if name == "seq2seq" else test_autoregressive
    return module.family(**options), module.batch(1).conditions


@pytest.mark.parametrize("name", ["seq2seq", "autoregressive", "diffusion"])
def test_guidance_from_what_was_never_trained_is_refused(name):
    family, conditions = conditioned(name, condition_drop=0.0)
    given: dict[str, Any] = {"seeds": torch.tensor([1])}
    for strength in (0.0, 2.0):
        with pytest.raises(InvalidRecipe, match=UNTRAINED):
            family.sample(conditions, controls=family.Controls(guidance=strength), **given)
    family.sample(conditions, controls=family.Controls(guidance=1.0), **given)
    trained, conditions = conditioned(name, condition_drop=0.1)
    trained.sample(conditions, controls=trained.Controls(guidance=2.0), **given)


@pytest.mark.parametrize("name", ["seq2seq", "autoregressive"])
def test_an_engine_refuses_it_too(name):
    family, conditions = conditioned(name, condition_drop=0.0)
    with pytest.raises(InvalidRecipe, match=UNTRAINED):
        family.engine(1).add(conditions, controls=family.Controls(guidance=2.0), seed=1)


def test_shortcuts_cannot_be_guided_by_it_either():
    options = {"shortcut": 0.25, "shortcut_guidance": 2.0, "condition_drop": 0.0}
    with pytest.raises(InvalidRecipe, match=r"never learnt.*option shortcut_guidance"):
        family_of("diffusion", options, conditions=CONDITIONS)


def counts(target: Spec, **conditions: Spec) -> NGram:
    family = NGram(NGram.Config(order=2, condition_drop=0.0), {}, {}, target, conditions)
    labels = {name: Field(torch.tensor([0, 1, 0, 1])) for name in conditions}
    family.observe(Batch(Field(torch.arange(16).view(4, 4) % 5), labels))
    return family


def test_counts_fall_back_to_all_labels_whatever_was_dropped():
    target = Spec(Form.TOKENS, vocabulary=5, max_length=4)
    family = counts(target, label=Spec(Form.LABEL, vocabulary=2))
    family.sample({"label": Field(torch.tensor([1]))}, controls=family.Controls(guidance=2.0), seeds=torch.tensor([1]))
    plain = counts(target)
    with pytest.raises(InvalidRecipe, match="nothing to guide by"):
        plain.sample({}, controls=plain.Controls(guidance=2.0), seeds=torch.tensor([1]))


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"min_length": 3}, "min_length holds back the end token"),
        ({"max_length": 3}, "every item of this model has the same length.*max_length out"),
        ({"no_repeat_ngram": 1}, "without a repetition"),
    ],
)
def test_lengths_that_are_fixed_are_not_changed(controls, words):
    family = counts(Spec(Form.TOKENS, vocabulary=5, max_length=7, fixed=True))
    with pytest.raises(RequestError, match=words):
        family.sample({}, controls=family.Controls(**controls), seeds=torch.tensor([1]))
    made = family.sample({}, controls=family.Controls(max_length=7, no_repeat_ngram=2), seeds=torch.tensor([1]))
    assert made.lengths.tolist() == [7]


def drawn(limit, **options):
    wanted = [Request((10, 3), 1, seed, limit, **options) for seed in range(4)]
    return [tokens for tokens, _ in decode(Engine(network("gru"), Output(10, end=9)), wanted)]


def test_bans_that_leave_nothing_give_way_and_say_so():
    once = TokenControls(no_repeat_ngram=1)
    with pytest.warns(UserWarning, match=r"no_repeat_ngram or min_length gave way.*ask for less"):
        rows = drawn(20, controls=once, shortest=20)
    # Eight tokens are new, for the prefix has one; then something has to come again.
    assert all(len(set(row[:8])) == 8 for row in rows)
    assert all(len(set(row)) == len(row) for row in drawn(20, controls=once))


def test_a_constraint_goes_before_bans():
    model = writer()
    with pytest.warns(UserWarning, match="gave way"):
        assert texts(model, 3, regex="aaab", no_repeat_ngram=1) == ["aaab"] * 3


@pytest.mark.parametrize("temperature", [5e-324, 1e-44, 1e-30, 1e-8])
def test_next_to_no_temperature_is_the_likeliest_token(temperature):
    greedy = drawn(8, controls=TokenControls(temperature=0))
    assert drawn(8, controls=TokenControls(temperature=temperature)) == greedy


def test_nothing_is_written_for_a_request_that_is_refused(models, tmp_path):
    for bad in TABLE[:12]:
        with pytest.raises(MiaobiError):
            miaobi.generate(models[0][bad.model], controls=bad.controls, out=tmp_path / "out", **bad.rest)
    assert not list(tmp_path.glob("out/*"))
