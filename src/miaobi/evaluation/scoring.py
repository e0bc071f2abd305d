"""`evaluate` a saved model, `score` a context, and the cheap `held_out` figure of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import miaobi
from miaobi import models
from miaobi.data import prepare
from miaobi.errors import RunFolderError, Unsupported
from miaobi.evaluation import extractors
from miaobi.evaluation.context import Context
from miaobi.evaluation.extractors import Extractor
from miaobi.evaluation.metrics import NO_OPTIONS, Choice, Metric, Options, check_options, resolve
from miaobi.evaluation.metrics.obedience import asked
from miaobi.evaluation.quiet import undisturbed
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.families import Family
from miaobi.modalities import Modality
from miaobi.models import Model
from miaobi.plugins import name_of
from miaobi.recipe import Recipe

if TYPE_CHECKING:
    from miaobi.data import Prepared


def evaluate(
    model: Model | str | Path,
    *,
    metrics: Sequence[str] = (),
    data: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    part: str = "test",
    extractor: str | None = None,
    controls: Mapping[str, Any] | None = None,
    options: Options = NO_OPTIONS,
) -> dict[str, Score]:
    """Score a model on held-out data.

    Args:
        model: a loaded model, a run folder or a model folder.
        metrics: GROUP, GROUP.FIGURE or a unique FIGURE; default: the recipe's, else those of the modality's that the
            family can be measured by, and ``obedience`` where the controls ask for something of a text.
        data: another source than the recipe's; its held-out part is used, encoded as the model was trained.
        samples: how many to generate, at most as many as are held out; default: the recipe's.
        seed: of the samples.
        part: ``test`` (validation where the split has none; the protocol says so) or ``validation``.
        extractor: named features; default: the recipe's, else the modality's.
        controls: the family's sampling controls, in place of the recipe's of the same name.
        options: group of figures to its options, in place of the recipe's of the same group.

    Returns:
        Figure to score, in the order asked for.

    Raises:
        RequestError: an unknown metric, one that does not apply, a missing extra, or no data.
        Diverged: the model's samples or likelihoods are not finite.
    """
    model = models.opened(model)
    recipe = recipe_of(model, data)
    settings = recipe.evaluate
    named = extractor or settings.extractor
    controls = {**settings.control, **(controls or {})}
    rules = asked(type(model.family).Controls.parse(controls, "evaluate.control"))
    options = {**({"obedience": rules} if rules else {}), **settings.options, **options}
    names = metrics or settings.metrics or applicable(model.family, model.modality)
    if rules and not metrics:
        names = list(dict.fromkeys([*names, "obedience"]))
    check(names, model.family, model.modality, named, options, model.conditions)
    context = Context(
        model,
        prepare(recipe, fitted=(model.modality, model.conditions)),
        part=part,
        count=settings.samples if samples is None else samples,
        seed=seed,
        extractor=named,
        controls=controls,
    )
    return score(context, names, options)


def score(context: Context, metrics: Sequence[str] = (), options: Options = NO_OPTIONS) -> dict[str, Score]:
    """Scores of a context, the model left as it was; arguments and errors as for `evaluate`."""
    model = context.model
    choices = [resolve(name) for name in metrics or applicable(model.family, model.modality)]
    computed: dict[str, dict[str, Score]] = {}
    scores: dict[str, Score] = {}
    with undisturbed(model.family):
        for choice in choices:
            if choice.group not in computed:
                metric = choice.metric(options)
                metric.check(model.family, model.modality)
                computed[choice.group] = _stamped(metric, metric.compute(context))
            scores |= _chosen(choice, computed[choice.group])
    return scores


def held_out(
    family: Family,
    prepared: Prepared,
    metric: str,
    *,
    count: int,
    seed: int,
    extractor: str | Extractor | None = None,
    controls: Mapping[str, Any] | None = None,
    options: Options = NO_OPTIONS,
) -> tuple[str, float, Direction]:
    """One figure on the validation part, for a look during training, which it does not disturb.

    Modes, gradients and global random states are as before; with the same arguments and weights the value is the same.

    Args:
        family: what is trained, or its average.
        prepared: its data.
        metric: GROUP (its primary figure), GROUP.FIGURE or a unique FIGURE.
        count: samples, or likelihood items, at most as many as there are.
        seed: of the samples.
        extractor: named features; default: the modality's.
        controls: the family's sampling controls.
        options: group of figures to its options.

    Returns:
        The figure's name, its value, and which way is better.

    Raises:
        RequestError: as for `evaluate`.
        Diverged: samples or likelihoods are not finite.
    """
    model = Model(family, prepared.modality, prepared.conditions)
    context = Context(
        model,
        prepared,
        part="validation",
        count=count,
        seed=seed,
        extractor=extractor,
        controls=controls,
        brief=True,
    )
    figure, found = next(iter(score(context, [metric], options).items()))
    return figure, found.value, Direction(found.protocol["direction"])


def check(
    metrics: Sequence[str],
    family: Family,
    modality: Modality,
    extractor: str | Extractor | None = None,
    options: Options = NO_OPTIONS,
    conditions: Mapping[str, Modality] | None = None,
) -> None:
    """Refuse what cannot be measured before any work starts; options are held against ``conditions`` where given.

    Raises:
        UnknownName: an unknown metric, figure or extractor.
        InvalidRecipe: options that a metric refuses.
        Unsupported: the family or the modality cannot be measured so.
        MissingExtra: the extractor's package is absent.
    """
    check_options(options)
    found = [resolve(name).metric(options) for name in metrics]
    for metric in found:
        metric.check(family, modality)
    for group in options if conditions is not None else ():
        resolve(group).metric(options).check_conditions(conditions or {})
    if any(metric.needs_features for metric in found):
        extractors.choose(extractor, modality)


def applicable(family: Family, modality: Modality) -> list[str]:
    """The modality's metrics that the family has the ability for, without a likelihood that would take hours.

    Raises:
        Unsupported: there is none.
    """
    names = [name for name in modality.metrics if _applies(name, family, modality)]
    if not names:
        raise Unsupported(
            f"no default metric applies to {name_of(type(family))} on {modality.name}",
            given=modality.metrics,
            cure="name one: `miaobi list metrics` shows them",
        )
    return names


def _stamped(metric: Metric, scores: Mapping[str, Score]) -> dict[str, Score]:
    """Scores that also say by which options and versions they were computed."""
    versions = {"miaobi": miaobi.__version__, "torch": torch.__version__}
    versions |= {name: metadata.version(name) for name in metric.libraries}
    more = Protocol(options=metric.config.to_json(), versions=versions)
    return {name: replace(score, protocol=score.protocol | more) for name, score in scores.items()}


def _applies(name: str, family: Family, modality: Modality) -> bool:
    choice = resolve(name)
    if choice.group == "likelihood" and family.costly_likelihood:
        return False
    metric = choice.metric()
    return isinstance(family, metric.ability) and modality.shown.form in metric.forms


def _chosen(choice: Choice, computed: dict[str, Score]) -> dict[str, Score]:
    if choice.figure is None:
        return computed
    if choice.figure not in computed:
        raise Unsupported(f"{choice.group} has no {choice.figure} here", allowed=computed)
    return {choice.figure: computed[choice.figure]}


def recipe_of(model: Model, source: str | None) -> Recipe:
    """The recipe that a model was trained by, with another data source where one is given.

    Raises:
        RunFolderError: the model does not say.
    """
    saved = model.info.get("recipe")
    if saved is None:
        raise RunFolderError(
            "the model does not say what data it was trained on",
            cure="evaluate a run folder, or a model folder that `miaobi train` wrote",
        )
    recipe = Recipe.load(saved)
    if source is None:
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})
