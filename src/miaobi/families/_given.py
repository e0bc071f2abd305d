"""Conditions that are the target in part (`Spec.partial`): what they give is held to while the rest is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from miaobi.errors import RequestError
from miaobi.sampling.beam import BeamControls
from miaobi.sampling.decoding import Output, Request
from miaobi.sampling.given import Given
from miaobi.sampling.rules import Ruled
from miaobi.types import Field, Spec


def held(
    requests: Sequence[Request], conditions: Mapping[str, Field], specs: Mapping[str, Spec], output: Output
) -> list[Request]:
    """The requests with what ``conditions`` give of the target as their constraint.

    Args:
        requests: a row of the conditions each.
        conditions: fields by name, with as many rows.
        specs: what they look like.
        output: which tokens may be drawn.

    Raises:
        RequestError: a prefix that contradicts what is given, or controls that do.
    """
    names = [name for name, spec in specs.items() if spec.partial and name in conditions]
    for name in names:
        field = conditions[name]
        rows = zip(field.values.tolist(), field.mask().sum(1).tolist(), field.is_present().tolist(), strict=True)
        requests = [
            _held(request, name, [token - 1 if token else None for token in row[:length]], output)
            if present
            else request
            for request, (row, length, present) in zip(requests, rows, strict=True)
        ]
    return list(requests)


def _held(request: Request, name: str, tokens: list[int | None], output: Output) -> Request:
    controls = request.controls
    if isinstance(controls, BeamControls) and controls.beams is not None:
        raise RequestError(
            f"beam search does not hold to what the condition {name} gives",
            given=f"beams = {controls.beams}",
            cure="leave beams out; best_of or a lower temperature finds likelier items too",
        )
    if isinstance(request.constraint, Given) or (isinstance(request.constraint, Ruled) and request.constraint.given):
        raise RequestError(
            "two conditions give parts of the item",
            given=name,
            cure="leave one of them out, or train with one condition that gives both",
        )
    if request.constraint is not None and not isinstance(request.constraint, Ruled):
        raise RequestError(
            f"the condition {name} says what the item is, and so does another constraint",
            given=name,
            cure="leave the constraint out",
        )
    if request.shortest > len(tokens) - len(request.tokens) + request.head:
        raise RequestError(
            f"the condition {name} says how long the item is",
            given=f"min_length = {controls.min_length}",
            allowed=f"up to {len(tokens)}",
            cure="leave min_length out",
        )
    start = request.tokens[request.head :]
    if len(start) > len(tokens) or any(known not in (None, own) for known, own in zip(tokens, start, strict=False)):
        raise RequestError(
            f"the prefix is another than the condition {name} gives",
            given=f"a prefix of {len(start)} tokens",
            cure="give the condition or the prefix, or cut the prefix from the same piece",
        )
    given = Given(tokens[len(start) :], output)
    ruled = request.constraint
    return replace(request, constraint=replace(ruled, given=given) if isinstance(ruled, Ruled) else given)
