"""Looking into a model: one view a file, the file's name is the view's, and a page of those that apply.

`understand` takes a run or a model and gives an `Understanding`, whose ``page()`` is one self-contained HTML file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miaobi import models, plugins
from miaobi.data import prepare
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.evaluation import report
from miaobi.evaluation.context import Context
from miaobi.evaluation.quiet import undisturbed
from miaobi.evaluation.report import Section
from miaobi.evaluation.scoring import recipe_of
from miaobi.evaluation.understanding._base import Finding, View
from miaobi.models import Model
from miaobi.plugins import name_of

__all__ = ["Finding", "Understanding", "View", "find", "names", "understand"]

_MOST_ITEMS = 100


@dataclass(frozen=True)
class Understanding:
    """What the views of a model showed.

    Attributes:
        title: of the page.
        subtitle: what was looked at, in one line.
        found: by view, in order.
        left_out: by view, why it does not apply.
    """

    title: str
    subtitle: str
    found: Mapping[str, Finding]
    left_out: Mapping[str, str]

    def page(self) -> str:
        """One HTML document, which fetches nothing and runs no script."""
        sections = [section for finding in self.found.values() for section in finding.sections]
        return report.page(self.title, [*sections, self._left_out()], self.subtitle)

    def to_json(self) -> dict[str, Any]:
        """Figures by view, and the reasons of those that do not apply."""
        return {
            "views": {name: finding.figures for name, finding in self.found.items()},
            "left_out": dict(self.left_out),
        }

    def _left_out(self) -> Section:
        rows = [(find(name).title, reason) for name, reason in self.left_out.items()]
        return report.table("Views that do not apply", ("view", "why"), rows)


def names() -> list[str]:
    """Every view's name."""
    return plugins.names(__name__)


def find(name: str) -> type[View]:
    """The view class of a name.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, View)  # type: ignore[type-abstract]


def understand(
    model: Model | str | Path,
    *,
    views: Sequence[str] = (),
    data: str | None = None,
    part: str = "test",
    items: int = 8,
    seed: int = 0,
) -> Understanding:
    """Look into a model, which is left as it was.

    Args:
        model: a loaded model, a run folder or a model folder.
        views: which; default: all that apply.
        data: another source than the recipe's.
        part: ``test`` (validation where the split has none) or ``validation``.
        items: held-out and generated items that are shown, at most: 1 to 100.
        seed: of what is generated.

    Raises:
        UnknownName: an unknown view.
        Unsupported: a view that was asked for by name and does not apply.
        RequestError: no data, or items out of range.
    """
    if not 1 <= items <= _MOST_ITEMS:
        raise InvalidRecipe("the number of items is out of range", given=items, allowed=f"1 to {_MOST_ITEMS}")
    where = "the model" if isinstance(model, Model) else Path(model).resolve().name
    model = models.opened(model)
    for name in views:
        _checked(name, model)
    context = _context(model, data, part, items, seed)
    found: dict[str, Finding] = {}
    left_out: dict[str, str] = {}
    with undisturbed(model.family):
        for name in dict.fromkeys(plugins.canonical(__name__, name) for name in views or names()):
            try:
                found[name] = _checked(name, model)().look(context)
            except Unsupported as error:
                if views:
                    raise
                left_out[name] = error.message
    return Understanding(f"Understanding {where}", _subtitle(context), found, left_out)


def _checked(name: str, model: Model) -> type[View]:
    view = find(name)
    view.check(model)
    return view


def _context(model: Model, data: str | None, part: str, items: int, seed: int) -> Context:
    recipe = recipe_of(model, data)
    return Context(
        model,
        prepare(recipe, fitted=(model.modality, model.conditions)),
        part=part,
        count=items,
        seed=seed,
        extractor=recipe.evaluate.extractor,
        controls=recipe.evaluate.control,
    )


def _subtitle(context: Context) -> str:
    family = name_of(type(context.model.family))
    return (
        f"{family} of {context.modality.name}; {context.count} items of {context.held.part} "
        f"(data {context.prepared.fingerprint[:12]}, {context.prepared.source}), seed {context.seed}"
    )
