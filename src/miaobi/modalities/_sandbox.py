"""Jinja in a sandbox: a template sees what it is given, cannot change it, reaches nothing else, and soon ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from miaobi.errors import InvalidRecipe, MissingExtra
from miaobi.modalities import _sandbox_limits as limits

_FILTERS = frozenset(
    {"abs", "attr", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "int"}
    | {"items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace"}
    | {"reverse", "safe", "select", "selectattr", "sort", "string", "title", "trim", "unique", "upper"}
)
"""Those of Jinja's filters that publishers' templates use, none of which makes much of little."""
_METHODS = frozenset(
    {"capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower", "isspace"}
    | {"isupper", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind"}
    | {"rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"}
)
"""Likewise the methods of texts."""
_FAULTS = (
    *(TypeError, ValueError, ArithmeticError, LookupError, AttributeError),
    *(SyntaxError, RecursionError, MemoryError, AssertionError),
)
"""What a faulty template raises besides Jinja's own errors."""


def render(template: str, values: Mapping[str, Any], *, lenient: bool = False) -> str:
    """The text that a template makes of ``values``; ``lenient``: what has no value is nothing, as publishers have it.

    Raises:
        InvalidRecipe: not a template, a name that has no value, a way out of the sandbox, too long a text, or one that
            takes too long.
        MissingExtra: jinja2 is absent.
    """
    from jinja2.exceptions import SecurityError, TemplateError

    _check_length(template)
    try:
        with limits.budget():
            parts: list[str] = []
            size = 0
            for part in _compiled(template, lenient).generate(dict(values)):
                size += len(part)
                limits.check_size(size)
                parts.append(part)
            return "".join(parts)
    except SecurityError as error:
        raise InvalidRecipe(
            f"the template tries to leave its sandbox: {error}",
            given=template,
            cure="use the fields that it is given, and nothing else",
        ) from None
    except (TemplateError, *_FAULTS) as error:
        raise InvalidRecipe(f"the template cannot be used: {error}", given=template, cure="correct it") from None


def fields_of(template: str) -> set[str]:
    """Names that a template uses and does not set itself.

    Raises:
        InvalidRecipe: not a template.
        MissingExtra: jinja2 is absent.
    """
    from jinja2 import meta
    from jinja2.exceptions import TemplateError

    _check_length(template)
    environment = _environment()
    try:
        return set(meta.find_undeclared_variables(environment.parse(template))) - set(environment.globals)
    except (TemplateError, *_FAULTS) as error:
        raise InvalidRecipe(f"not a template: {error}", given=template, cure="correct it") from None


def _check_length(template: str) -> None:
    if len(template) > limits.MOST_CHARACTERS:
        allowed = f"{limits.MOST_CHARACTERS} characters"
        raise InvalidRecipe("the template is too long", given=len(template), allowed=allowed)


@lru_cache(maxsize=64)
def _compiled(template: str, lenient: bool) -> Any:
    return _environment(lenient).from_string(template)


@lru_cache(maxsize=2)
def _environment(lenient: bool = False) -> Any:
    try:
        from jinja2 import StrictUndefined, Undefined, ext
    except ImportError:
        raise MissingExtra("a prompt template", "starter") from None
    environment = _sandbox()(
        undefined=Undefined if lenient else StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[ext.loopcontrols],
        finalize=limits.written,
    )
    # What publishers' templates call; nothing else of Jinja's makes anything that a prompt needs.
    from jinja2.utils import Namespace

    ranging = environment.globals["range"]
    environment.globals = {"raise_exception": _refuse, "range": ranging, "namespace": Namespace}
    kept = {name: limits.bounded(made) for name, made in environment.filters.items() if name in _FILTERS}
    checked = {"join": _checked_join(kept["join"]), "replace": _checked_replace(kept["replace"])}
    environment.filters = {**kept, **checked, "tojson": _to_json}
    return environment


def _sandbox() -> Any:
    """Jinja's sandbox with `limits` in every loop, call and operation."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "*", "**", "%"})
        step = staticmethod(limits.step)
        joined = staticmethod(limits.joined)
        weighed = staticmethod(limits.weighed)
        said = staticmethod(limits.said)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            inner = super().call_binop
            return limits.operated(operator, left, right, lambda: inner(context, operator, left, right))

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            if isinstance(obj, str | bytes) and attr not in _METHODS:
                return False
            return super().is_safe_attribute(obj, attr, value)

        def wrap_str_format(self, value: Any) -> None:
            """Nothing: a format may be as wide as it likes."""

        def call(self, context: Any, function: Any, /, *given: Any, **named: Any) -> Any:
            limits.check_call(function, given)
            return super().call(context, function, *given, **named)

        def _parse(self, source: str, name: Any, filename: Any) -> Any:
            return _counted(super()._parse(source, name, filename))

    return Sandbox


def _counted(tree: Any) -> Any:
    """A parsed template whose loops, joins and literals go through `limits`."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def call(name: str, given: list[Any]) -> Any:
        return nodes.Call(nodes.EnvironmentAttribute(name), given, [], None, None)

    class Counting(NodeTransformer):
        def visit_For(self, node: Any) -> Any:  # noqa: N802 - Jinja's own
            node = self.generic_visit(node)
            node.body.insert(0, nodes.ExprStmt(call("step", [])))
            if node.test is not None:
                node.test = nodes.And(call("step", []), node.test)
            return node

        def visit_TemplateData(self, node: Any) -> Any:  # noqa: N802 - Jinja's own
            return call("said", [nodes.Const(node.data)])

        def visit_Concat(self, node: Any) -> Any:  # noqa: N802 - Jinja's own
            self.generic_visit(node)
            return call("joined", node.nodes)

        def visit_List(self, node: Any) -> Any:  # noqa: N802 - Jinja's own
            return call("weighed", [self.generic_visit(node)])

        def visit_Dict(self, node: Any) -> Any:  # noqa: N802 - Jinja's own
            return call("weighed", [self.generic_visit(node)])

        def visit_Tuple(self, node: Any) -> Any:  # noqa: N802 - Jinja's own
            node = self.generic_visit(node)
            return call("weighed", [node]) if node.ctx == "load" else node

    return Counting().visit(tree)


def _checked_join(join: Callable[..., Any]) -> Callable[..., Any]:
    from jinja2 import pass_eval_context

    @pass_eval_context
    def checked(context: Any, value: Any, d: Any = "", attribute: Any = None) -> Any:
        value = list(value)
        limits.check_join(value, d)
        return join(context, value, d, attribute)

    return checked


def _checked_replace(replace: Callable[..., Any]) -> Callable[..., Any]:
    from jinja2 import pass_eval_context

    @pass_eval_context
    def checked(context: Any, text: Any, old: Any, new: Any, count: Any = None) -> Any:
        limits.check_replace(text, old, new)
        return replace(context, text, old, new, count)

    return checked


def _refuse(message: object) -> None:
    from jinja2.exceptions import TemplateError

    raise TemplateError(str(message))


def _to_json(value: Any, indent: int | None = None) -> str:
    import json

    limits.weighed(value)
    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(max(indent, 0), 8))
