"""`score` and `held_out`: what is computed, what is refused, and that nothing is disturbed."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miaobi import families
from miaobi.data import prepare
from miaobi.errors import InvalidRecipe, MissingExtra, RunFolderError, UnknownName, Unsupported
from miaobi.evaluation import Direction, applicable, check, evaluate, extractors, held_out, score
from miaobi.evaluation.extractors import Extractor
from miaobi.models import Model, build
from miaobi.recipe import Recipe
from miaobi.sampling.token_controls import TokenControls
from tests.evaluation.stand_ins import Sampler, Uniform, context, data, digits, image, sentences, text
from tests.support.worlds import write_lines


def picture_world(count: int = 60):
    items = digits(count)
    modality = image(items)
    return Sampler(modality, items), data(modality, items[: count // 2], items[count // 2 :])


def global_states(seed: int | None = None) -> list[object]:
    """The three global random states, seeded first if asked."""
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the global state is what is tested
        torch.manual_seed(seed)
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002


def test_held_out_returns_the_primary_figure_and_its_direction() -> None:
    family, prepared = picture_world()
    figure, value, direction = held_out(family, prepared, "kernel_distance", count=20, seed=1, extractor="pixels")
    assert (figure, direction) == ("kernel_distance", Direction.LOWER)
    assert np.isfinite(value)
    figure, _, direction = held_out(family, prepared, "recall", count=20, seed=1, extractor="pixels")
    assert (figure, direction) == ("recall", Direction.HIGHER)


def test_held_out_leaves_no_trace() -> None:
    family, prepared = picture_world()
    family.train()
    family.dropout.eval()
    before = global_states(seed=1)
    first = held_out(family, prepared, "kernel_distance", count=20, seed=1, extractor="pixels")
    assert family.training
    assert not family.dropout.training
    assert not any(family.modes)
    assert global_states() == before
    assert torch.is_grad_enabled()
    global_states(seed=2)
    assert held_out(family, prepared, "kernel_distance", count=20, seed=1, extractor="pixels") == first
    assert held_out(family, prepared, "kernel_distance", count=20, seed=2, extractor="pixels") != first


def test_modes_return_after_an_error() -> None:
    family, prepared = picture_world()
    family.train()
    with pytest.raises(Unsupported):
        held_out(family, prepared, "likelihood", count=20, seed=1)
    assert family.training


def test_a_likelihood_looks_at_count_items_when_brief_and_at_all_otherwise() -> None:
    lines = sentences(60)
    modality = text(lines)
    family, prepared = Uniform(modality, lines), data(modality, lines[:10], lines[10:])
    held_out(family, prepared, "likelihood", count=5, seed=0)
    assert prepared.validation.read == [0, 10, 20, 30, 40]
    prepared.validation.read.clear()
    score(context(family, prepared, count=5), ["likelihood"])
    assert prepared.validation.read == list(range(50))


def test_figures_come_in_the_order_asked_for_and_once() -> None:
    items = digits(60)
    modality = image(items)
    family = Uniform(modality, items)
    found = score(
        context(family, data(modality, items[:30], items[30:])),
        ["recall", "likelihood.bits_per_dimension", "kernel_distance", "precision_recall"],
    )
    assert list(found) == ["recall", "bits_per_dimension", "kernel_distance", "precision", "trimmed_recall"]
    assert len(family.seen) == 1


def test_every_score_is_json_with_its_protocol() -> None:
    import json

    items = digits(60)
    modality = image(items)
    prepared = data(modality, items[:30], items[30:])
    names = ["likelihood", "kernel_distance", "frechet_distance", "precision_recall", "memorization"]
    found = score(context(Uniform(modality, items), prepared), names)
    for figure, item in found.items():
        saved = json.loads(json.dumps(item.to_json(), allow_nan=False))
        assert set(saved) == {"value", "interval", "floor", "protocol"}
        protocol = saved["protocol"]
        assert protocol["figure"] == figure
        assert {"metric", "direction", "paper", "samples", "split", "seed", "data", "interval_method"} <= set(protocol)
        assert (saved["floor"] is None) == (protocol["metric"] == "likelihood")


def test_a_figure_that_the_data_has_not_is_refused() -> None:
    lines = sentences(10)
    modality = text(lines)
    with pytest.raises(Unsupported, match="bits_per_dimension"):
        score(context(Uniform(modality, lines), data(modality, lines, lines)), ["bits_per_dimension"])


def test_defaults_are_those_that_the_family_can_be_measured_by() -> None:
    lines = sentences(10)
    modality = text(lines)
    assert applicable(Uniform(modality, lines), modality) == ["likelihood", "diversity"]
    assert applicable(Sampler(modality, lines), modality) == ["diversity"]


def test_check_refuses_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    family, prepared = picture_world()
    check(["kernel_distance", "memorization"], family, prepared.modality, "pixels")
    with pytest.raises(UnknownName, match="recall"):
        check(["recal"], family, prepared.modality, "pixels")
    with pytest.raises(Unsupported, match="Likelihood"):
        check(["likelihood"], family, prepared.modality, "pixels")
    with pytest.raises(UnknownName, match="pixels"):
        check(["kernel_distance"], family, prepared.modality, "pixel")

    create = extractors.create

    def absent(name: str) -> Extractor:
        if name == "pixels":
            return create(name)
        raise MissingExtra(name, "features")

    monkeypatch.setattr("miaobi.evaluation.extractors.create", absent)
    with pytest.raises(MissingExtra, match=r"miaobi\[features\]"):
        check(["kernel_distance"], family, prepared.modality)
    check(["memorization"], family, prepared.modality)


def test_a_model_that_does_not_know_its_data_cannot_be_evaluated() -> None:
    family, prepared = picture_world()
    with pytest.raises(RunFolderError, match="what data"):
        evaluate(Model(family, prepared.modality))


def model_of(path: Path, **settings: Any) -> Model:
    """A uniform model that knows the recipe of the data at ``path``, as a saved one does."""
    recipe = {
        "modality": "text",
        "data": {"source": str(path), "content": "text", "condition": {"kind": "label"}},
        "model": {"family": "autoregressive"},
        "evaluate": {"samples": 20, **settings},
    }
    prepared = prepare(Recipe.load(recipe))
    family = Uniform(prepared.modality, sentences(20))
    info = {"recipe": recipe, "data": {"fingerprint": prepared.fingerprint}}
    return Model(family, prepared.modality, prepared.conditions, info)


def test_a_model_is_evaluated_on_its_own_data_and_on_another(tmp_path: Path) -> None:
    model = model_of(write_lines(tmp_path / "own.jsonl", 300))
    own = evaluate(model)
    assert list(own) == [
        "bits_per_byte",
        "nats_per_token",
        "perplexity",
        *(f"distinct_{n}" for n in (1, 2, 3, 4)),
        "self_bleu",
    ]
    assert own["nats_per_token"].value == pytest.approx(math.log(model.modality.spec.vocabulary))
    protocol = own["self_bleu"].protocol
    assert (protocol["split"], protocol["samples"], protocol["conditions"]) == ("test", 20, ["kind"])
    assert "trained_on" not in protocol
    other = evaluate(model, metrics=["nats_per_token"], data=str(write_lines(tmp_path / "other.jsonl", 100)))
    protocol = other["nats_per_token"].protocol
    assert protocol["data"] != own["nats_per_token"].protocol["data"] == protocol["trained_on"]
    assert other["nats_per_token"].value == pytest.approx(own["nats_per_token"].value)


class Warm(Uniform):
    """`Uniform` that understands a control."""

    class Controls(Uniform.Controls):
        temperature: float = 1.0
        top_k: int = 0


def test_controls_take_the_place_of_the_recipes_of_the_same_name(tmp_path: Path) -> None:
    model = model_of(write_lines(tmp_path / "own.jsonl", 100))
    model.family = Warm(model.modality, sentences(20))
    model.info["recipe"]["evaluate"]["control"] = {"temperature": 0.5, "top_k": 7}
    protocol = evaluate(model, metrics=["self_bleu"], controls={"temperature": 2.0})["self_bleu"].protocol
    assert protocol["controls"] == {"temperature": 2.0, "top_k": 7}
    with pytest.raises(InvalidRecipe, match="temprature"):
        evaluate(model, metrics=["self_bleu"], controls={"temprature": 2.0})


class Told(Uniform):
    """`Uniform` that is asked for lines and words, and does not listen."""

    Controls = TokenControls


def test_what_the_controls_ask_for_is_measured_where_no_metric_is_named(tmp_path: Path) -> None:
    model = model_of(write_lines(tmp_path / "own.jsonl", 100), metrics=["self_bleu"])
    model.family = Told(model.modality, sentences(20))
    assert list(evaluate(model)) == ["self_bleu"]
    controls = {"lines": 1, "keywords": ["no such word"]}
    found = evaluate(model, controls=controls)
    assert list(found) == ["self_bleu", "obeys", "obeys_keywords", "obeys_lines"]
    assert [found[figure].value for figure in ("obeys", "obeys_keywords", "obeys_lines")] == [0, 0, 1]
    assert list(evaluate(model, metrics=["self_bleu"], controls=controls)) == ["self_bleu"]
    own = evaluate(model, controls=controls, options={"obedience": {"characters": [0, 1000]}})
    assert list(own) == ["self_bleu", "obeys", "obeys_characters"]


def test_options_of_metrics_are_the_recipes_unless_given(tmp_path: Path) -> None:
    options = {"diversity": {"self_bleu_samples": 5}}
    model = model_of(write_lines(tmp_path / "own.jsonl", 100), options=options, metrics=["self_bleu"])
    assert evaluate(model)["self_bleu"].protocol["samples"] == 5
    given = evaluate(model, options={"diversity": {"self_bleu_samples": 4}})
    assert given["self_bleu"].protocol["samples"] == 4
    with pytest.raises(InvalidRecipe, match="self_bleu_samples"):
        evaluate(model, options={"diversity": {"self_bleu_sample": 4}})
    with pytest.raises(UnknownName, match="diversity"):
        evaluate(model, options={"divrsity": {}})


def test_a_costly_likelihood_is_measured_only_where_it_is_named() -> None:
    _, prepared = picture_world()
    diffusion = families.find("diffusion")
    assert diffusion.costly_likelihood
    assert "likelihood" in prepared.modality.metrics
    built = build(
        Recipe.load({"modality": "image", "data": {"source": "x"}, "model": {"family": "diffusion", "size": "tiny"}}),
        prepared.target,
        {},
    )
    assert "likelihood" not in applicable(built, prepared.modality)
    assert applicable(built, prepared.modality)


def test_samples_are_scored_as_they_are_given_without_their_stop_string() -> None:
    drawn = ["ab stop cd", "no end", "stop at once"]
    modality = text([*drawn, "abcdefghijklmnopqrstuvwxyz "], tokenizer="character")
    family = Stopping(modality, drawn)
    made = context(family, data(modality, drawn, drawn), count=3, controls={"stop": ["stop"]})
    assert sorted(set(made.generated_items)) == ["", "ab ", "no end"]
    assert [modality.decode(array) for array in made.generated] == made.generated_items


class Stopping(Sampler):
    """`Sampler` that understands stop strings, and draws past them."""

    class Controls(TokenControls, Sampler.Controls):
        """Those of tokens."""
