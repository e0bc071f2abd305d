"""Jinja in a sandbox: a template sees what it is given, cannot change it, and reaches nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from miaobi.errors import InvalidRecipe, MissingExtra

MOST_CHARACTERS = 1 << 20
"""Of a template, and of what it makes."""


def render(template: str, values: Mapping[str, Any]) -> str:
    """The text that a template makes of ``values``.

    Raises:
        InvalidRecipe: not a template, a name that has no value, a way out of the sandbox, or too long a text.
        MissingExtra: jinja2 is absent.
    """
    if len(template) > MOST_CHARACTERS:
        raise InvalidRecipe("the template is too long", given=len(template), allowed=f"{MOST_CHARACTERS} characters")
    from jinja2.exceptions import SecurityError, TemplateError

    try:
        parts: list[str] = []
        size = 0
        for part in _compiled(template).generate(dict(values)):
            size += len(part)
            if size > MOST_CHARACTERS:
                raise InvalidRecipe("the template makes too long a text", allowed=f"{MOST_CHARACTERS} characters")
            parts.append(part)
    except SecurityError as error:
        raise InvalidRecipe(
            f"the template tries to leave its sandbox: {error}",
            given=template,
            cure="use the fields that it is given, and nothing else",
        ) from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
        raise InvalidRecipe(f"the template cannot be used: {error}", given=template, cure="correct it") from None
    return "".join(parts)


def fields_of(template: str) -> set[str]:
    """Names that a template uses and does not set itself.

    Raises:
        InvalidRecipe: not a template.
    """
    from jinja2 import meta
    from jinja2.exceptions import TemplateError

    environment = _environment()
    try:
        return set(meta.find_undeclared_variables(environment.parse(template))) - set(environment.globals)
    except TemplateError as error:
        raise InvalidRecipe(f"not a template: {error}", given=template, cure="correct it") from None


@lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


@lru_cache(maxsize=1)
def _environment() -> Any:
    try:
        from jinja2 import StrictUndefined, ext
    except ImportError:
        raise MissingExtra("a prompt template", "starter") from None
    environment = _sandbox()(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, extensions=[ext.loopcontrols]
    )
    # What publishers' templates call; nothing else of Jinja's makes anything that a prompt needs.
    from jinja2.utils import Namespace

    ranging = environment.globals["range"]
    environment.globals = {"raise_exception": _refuse, "range": ranging, "namespace": Namespace}
    environment.filters = {name: made for name, made in environment.filters.items() if name not in _WIDENING}
    environment.filters["tojson"] = _to_json
    return environment


def _sandbox() -> Any:
    """Jinja's sandbox without what makes a small text into one that fills the memory."""
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" or not all(isinstance(one, int | float) for one in (left, right)):
                raise SecurityError(f"{operator} of {type(left).__name__} and {type(right).__name__}")
            return super().call_binop(context, operator, left, right)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in _WIDENING and super().is_safe_attribute(obj, attr, value)

    return Sandbox


_WIDENING = frozenset(
    {"center", "expandtabs", "format", "format_map", "indent", "ljust", "rjust", "wordwrap", "xmlattr", "zfill"}
)
"""Filters and methods whose result may be far longer than what they are given."""


def _refuse(message: object) -> None:
    from jinja2.exceptions import TemplateError

    raise TemplateError(str(message))


def _to_json(value: Any, indent: int | None = None) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(max(indent, 0), 8))
