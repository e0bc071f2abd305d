"""What there is: plug-ins of every kind and the shipped recipes, as ``list`` and ``show`` tell it."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from miaobi import plugins
from miaobi.errors import UnknownName

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

PACKAGES = {
    "families": ("miaobi.families", "Family"),
    "networks": ("miaobi.networks", "Network"),
    "modalities": ("miaobi.modalities", "Modality"),
    "views": ("miaobi.modalities.views", "View"),
    "solvers": ("miaobi.sampling.solvers", "Solver"),
    "metrics": ("miaobi.evaluation.metrics", "Metric"),
    "extractors": ("miaobi.evaluation.extractors", "Extractor"),
    "export": ("miaobi.export", "Format"),
    "catalog": ("miaobi.data.catalog", "Catalog"),
}
KINDS = (*PACKAGES, "recipes")
_ABILITIES = (
    *("Sampling", "Likelihood", "Latent", "Editing", "Embedding"),
    *("Predicting", "Representing", "Counting", "Decoding"),
)


@dataclass(frozen=True)
class Option:
    """One setting of a plug-in."""

    name: str
    type: str
    default: str
    description: str


def names(kind: str) -> list[str]:
    """Sorted names of a kind.

    Raises:
        UnknownName: no such kind.
    """
    from miaobi.recipe import shipped

    if kind not in KINDS:
        raise UnknownName("kind of thing", kind, KINDS)
    return sorted(shipped()) if kind == "recipes" else plugins.names(PACKAGES[kind][0])


def find(kind: str, name: str) -> type[Any]:
    """The plug-in class of a name."""
    package, base = PACKAGES[kind]
    return plugins.load(package, name, getattr(importlib.import_module(package), base))


def summary(kind: str, name: str) -> str:
    """One line on a plug-in or a recipe."""
    from miaobi.recipe import Recipe, shipped

    if kind == "recipes":
        return first_sentence(Recipe.load(shipped()[name]).note or "")
    return first_sentence(description(find(kind, name)))


def description(plugin: type[Any]) -> str:
    """The docstring of a plug-in's class, or of its file."""
    return inspect.cleandoc(plugin.__dict__.get("__doc__") or inspect.getmodule(plugin).__doc__ or "")


def first_sentence(text: str) -> str:
    """The first paragraph of a text on one line."""
    return " ".join(text.strip().split("\n\n")[0].split())


def options(settings: type[BaseModel] | None) -> list[Option]:
    """The fields of a settings class, in their order."""
    if settings is None:
        return []
    return [_option(name, field) for name, field in settings.model_fields.items()]


def abilities(family: type[Any]) -> list[str]:
    """What a family can do: the names of the ability Protocols whose methods it has."""
    from miaobi import families

    return [name for name in _ABILITIES if issubclass(family, getattr(families, name))]


def _option(name: str, field: FieldInfo) -> Option:
    default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
    text = "; ".join(part for part in (field.description or "", _limits(field)) if part)
    return Option(name, _type_name(field.annotation), default, text)


def _limits(field: FieldInfo) -> str:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "length at least"}
    limits = [
        f"{words} {getattr(one, sign)}" for one in field.metadata for sign, words in signs.items() if hasattr(one, sign)
    ]
    return ", ".join(limits)


def _type_name(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(inner[0])
    if origin is None:
        return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))
    names_of_inner = [_type_name(one) if isinstance(one, type) or get_origin(one) else repr(one) for one in inner]
    if getattr(origin, "__name__", "") in ("UnionType", "Union"):
        return " | ".join(names_of_inner)
    return " | ".join(names_of_inner) if "Literal" in str(origin) else f"{origin.__name__}[{', '.join(names_of_inner)}]"
