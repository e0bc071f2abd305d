"""What a study is of: the recipe, what of it is searched, what every trial shares, and which figure decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miaobi.errors import CorruptFile, DataError, MiaobiError, Unsupported
from miaobi.recipe import Recipe
from miaobi.training import evaluating
from miaobi.training.assembly import Assembly
from miaobi.training.opening import beside, open_data
from miaobi.training.planning import plan
from miaobi.training.processes import Processes
from miaobi.training.run_folder import differences
from miaobi.training.tuning import space as spaces
from miaobi.training.tuning.settings import Range, Space, TuneSettings, parse_space

EXTENDABLE = ("trials", "confirm")
"""What of the ``tune`` section may differ when a study is gone on with."""


@dataclass(frozen=True)
class Design:
    """A study's plan; every process of it reads the same one.

    Attributes:
        requested: the recipe as asked for.
        space: what is searched, by the key that ``--set`` has for it.
        own: what the recipe has there itself.
        shared: settings of ``train`` that every trial has: its budget, and how steps are computed.
        metric: what the family is measured by; ``figure``: the figure of it that decides.
        lower: whether lower is better.
    """

    requested: Recipe
    space: Space
    own: dict[str, Any]
    shared: dict[str, Any]
    metric: str
    figure: str
    lower: bool

    @property
    def settings(self) -> TuneSettings:
        """The recipe's ``tune`` section."""
        return TuneSettings.parse(self.requested.tune, "recipe.tune")

    @property
    def plain(self) -> Recipe:
        """The recipe without its ``tune`` section."""
        return self.requested.model_copy(update={"tune": {}})

    def trial(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe of a trial with ``values`` of the space; of none: the recipe as it is."""
        return spaces.changed(_with_train(self.plain, self.shared), values)

    def better(self, new: float, old: float) -> bool:
        """Whether ``new`` beats ``old``."""
        return new < old if self.lower else new > old

    def refuse_another(self, recipe: Recipe) -> list[str]:
        """``key: old -> new`` for whatever differs between this study and one of ``recipe``."""
        old, new = self.settings.to_json(), TuneSettings.parse(recipe.tune, "recipe.tune").to_json()
        tune = [
            f"tune.{key}: {old[key]!r} -> {new[key]!r}"
            for key in old
            if key not in EXTENDABLE and list(_items(old[key])) != list(_items(new[key]))
        ]
        return [*differences(self.requested, recipe), *tune]

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back."""
        space = {
            path: dimension.to_json() if isinstance(dimension, Range) else list(dimension.values)
            for path, dimension in self.space.items()
        }
        return {**vars(self), "requested": self.requested.to_json(), "space": space}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> Design:
        """The inverse of `to_json`.

        Raises:
            CorruptFile: it is not a design.
        """
        try:
            requested, space = Recipe.load(data["requested"]), parse_space(data["space"])
            return cls(requested, space, *(data[key] for key in ("own", "shared", "metric", "figure", "lower")))
        except (KeyError, TypeError, MiaobiError) as error:
            raise CorruptFile(f"{where} does not hold a study: {error}", cure="start another with --study") from None


def design(recipe: Recipe, say: Callable[[str], None]) -> Design:
    """Measure the recipe once, and check or derive the space; no trial is begun.

    Raises:
        RequestError: the recipe, its data or its space cannot be used.
    """
    settings = TuneSettings.parse(recipe.tune, "recipe.tune")
    if recipe.stages:
        raise Unsupported(
            "a recipe of stages is not searched as a whole",
            given=list(recipe.stages),
            cure="tune a recipe of one stage",
        )
    declared = parse_space(settings.space)
    plain = recipe.model_copy(update={"tune": {}})
    spaces.check_paths(plain, declared)
    base = beside(_with_train(recipe, _budget(settings, recipe)), Path())
    prepared = open_data(base, log=say)
    planned, estimate = plan(base, prepared, Processes(alone=True))
    say(f"a trial of the recipe as it is: {estimate}")
    assembly = Assembly(base, prepared, Processes(alone=True))
    try:
        found, metric = evaluating.evaluate(assembly), assembly.family.metric(prepared.target.form)
        space = declared or spaces.derive(base, assembly.family)
        own = spaces.own_values(base, assembly.family, space)
    finally:
        assembly.close()
    if found is None:
        raise DataError("nothing is held out to search by", cure="hold out a validation part (data.split.validation)")
    space = spaces.widened(space, own)
    spaces.check_models(base.model_copy(update={"tune": {}}), prepared, space)
    shared = _shared(settings, planned)
    return Design(recipe, space, own, shared, metric, found.figure, found.lower)


def _budget(settings: TuneSettings, recipe: Recipe) -> dict[str, Any]:
    if settings.minutes is not None:
        return {"minutes": settings.minutes, "steps": None, "epochs": None}
    if settings.steps is not None:
        return {"steps": settings.steps, "minutes": None, "epochs": None}
    return {key: getattr(recipe.train, key) for key in ("steps", "minutes", "epochs")}


def _shared(settings: TuneSettings, planned: Recipe) -> dict[str, Any]:
    budget: dict[str, Any] = {"minutes": settings.minutes, "steps": None, "epochs": None}
    every = None
    if settings.minutes is None:
        budget["steps"] = steps = planned.train.steps or 1
        every = math.ceil(steps / settings.evaluations)
    how = {name: getattr(planned.train, name) for name in ("threads", "precision", "compile")}
    # Live samples cost as much as looks, and nobody watches a trial.
    return {**budget, **how, "evaluate_every": every, "sample_every": 10**9, "tracking": []}


def _with_train(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=dict(values))})


def _items(value: Any) -> Any:
    """A mapping in its order, for the order of a space is that in which it is drawn."""
    return value.items() if isinstance(value, Mapping) else [value]
