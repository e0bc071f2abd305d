"""Controls of drawing tokens, and drawing one token for each of many requests with controls of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

import torch
from pydantic import Field as Value
from pydantic import field_validator, model_validator
from torch import Tensor

from miaobi.sampling import logits as shaping
from miaobi.types import Settings

Bias = Annotated[float, Value(ge=-100, le=100)]
Stop = Annotated[str, Value(min_length=1, max_length=1000)]
Choice = Annotated[str, Value(min_length=1, max_length=1000)]
Keyword = Annotated[str, Value(min_length=1, max_length=200, pattern=r"^[^\s](.*[^\s])?$")]
LineCount = Annotated[int, Value(ge=0, le=1000)]
_MOST_LETTERS = 100_000
"""Of all choices together: a grammar of them is searched for ways to finish."""
_MOST_BIASES = 1000


class TokenControls(Settings):
    """How tokens are drawn.

    Applied in this order: guidance, repetition, bias, constraint, n-grams and least length, temperature, top-k, top-p,
    min-p. At most one of ``regex``, ``json_schema`` and ``choices`` constrains the text that is drawn (a prefix is not
    part of it), or ``keywords`` and ``lines`` say what it holds; both are kept to whatever the length: see `Constraint`
    and `Contents`. ``rules`` is the constraint of content that is no text: see `Ruled`. Where n-grams and the least
    length leave nothing that may be drawn, they give way for that token, with a warning.
    """

    temperature: float = Value(1.0, ge=0, le=100, description="0 takes the most likely token")
    top_k: int | None = Value(None, ge=1, le=10**7, description="draw from this many most likely tokens")
    top_p: float = Value(1.0, gt=0, le=1, description="draw from the most likely tokens that hold this probability")
    min_p: float = Value(0.0, ge=0, le=1, description="draw from tokens this likely relative to the most likely")
    repetition_penalty: float = Value(
        1.0, ge=0.01, le=100, description="above 1 makes tokens already there less likely"
    )
    no_repeat_ngram: int | None = Value(None, ge=1, le=1000, description="no sequence of this many tokens comes twice")
    logit_bias: dict[int, Bias] = Value({}, max_length=_MOST_BIASES, description="added to logits, by token id")
    text_bias: dict[str, Bias] = Value({}, max_length=_MOST_BIASES, description="the same, by a token's text")
    min_length: int | None = Value(
        None, ge=1, le=10**6, description="shortest item in tokens, its prefix included: no end token comes before"
    )
    max_length: int | None = Value(None, ge=1, le=10**6, description="longest item in tokens, its prefix included")
    stop: tuple[Stop, ...] = Value((), max_length=16, description="strings that end the text and are not part of it")
    regex: str | None = Value(
        None, max_length=10_000, description="the whole text matches this; \\d is every Unicode digit, as in Python"
    )
    json_schema: dict[str, Any] | None = Value(None, description="the text is JSON of this schema, without spaces")
    choices: tuple[Choice, ...] | None = Value(
        None, min_length=1, max_length=10_000, description="the text is one of these"
    )
    keywords: tuple[Keyword, ...] = Value(
        (), max_length=20, description="all of them appear in the text, upper and lower case told apart"
    )
    lines: tuple[LineCount, LineCount] | None = Value(
        None, description="fewest and most lines that are not blank; one number is both"
    )
    rules: bool = Value(
        False, description="keep to the content's rules, where it has any: part writing, for four voices on a grid"
    )
    best_of: int = Value(1, ge=1, le=64, description="draw this many and keep the one most likely a token")
    guidance: float = Value(1.0, ge=0, le=100, description="above 1 follows the conditions more, 0 ignores them")

    @field_validator("stop", "choices", "keywords", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("lines", mode="before")
    @classmethod
    def _exactly(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.temperature == 0:
            idle = [name for name in ("top_k", "top_p", "min_p", "best_of") if name in self._changed()]
            if idle:
                raise ValueError(
                    f"temperature 0 takes the most likely token: {idle[0]} can change nothing; leave it out"
                )
        if self.min_length is not None and self.max_length is not None and self.min_length > self.max_length:
            raise ValueError(f"min_length = {self.min_length} is more than max_length = {self.max_length}")
        if self.choices is not None and sum(map(len, self.choices)) > _MOST_LETTERS:
            raise ValueError(f"the choices are too long together; up to {_MOST_LETTERS} characters are allowed")
        if self.lines is not None and self.lines[0] > self.lines[1]:
            raise ValueError(f"lines = {list(self.lines)}: the fewest come first")
        self._check_constraints()
        return self

    def _check_constraints(self) -> None:
        changed = self._changed()
        forms = [name for name in ("regex", "json_schema", "choices") if name in changed]
        held = [name for name in ("keywords", "lines") if name in changed]
        if len(forms) > 1 or (forms and held):
            raise ValueError(f"{' and '.join([*forms, *held])} contradict each other; give one of them")
        if (forms or held) and (self.stop or self.min_length is not None):
            raise ValueError(f"{(forms + held)[0]} says where the text ends; leave stop and min_length out")

    @property
    def constrained(self) -> bool:
        """Whether the text has to be of a form."""
        return self.regex is not None or self.json_schema is not None or self.choices is not None

    @property
    def holding(self) -> bool:
        """Whether the text has to hold something."""
        return bool(self.keywords) or self.lines is not None

    @property
    def textual(self) -> bool:
        """Whether a control is in terms of text, so that it needs to know how tokens are spelled."""
        return self.constrained or self.holding or bool(self.stop) or bool(self.text_bias)

    def _changed(self) -> set[str]:
        fields = type(self).model_fields
        return {name for name in fields if getattr(self, name) != fields[name].default}


class Chooser:
    """Draws one token a row under each row's controls; what no row asks for costs nothing."""

    def __init__(self, controls: Sequence[TokenControls], device: torch.device) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, device=device)

        self.greedy = column([c.temperature == 0 for c in controls])
        self.temperature = column([max(c.temperature, shaping.COLDEST) if c.temperature else 1.0 for c in controls])
        self.top_k = column([c.top_k or 10**7 for c in controls])
        self.top_p = column([c.top_p for c in controls])
        self.min_p = column([c.min_p for c in controls])
        self.all_greedy = all(c.temperature == 0 for c in controls)
        self.any_greedy = any(c.temperature == 0 for c in controls)
        self.any_temperature = any(c.temperature not in (0, 1) for c in controls)
        self.any_top_k = any(c.top_k is not None for c in controls)
        self.any_top_p = any(c.top_p < 1 for c in controls)
        self.any_min_p = any(c.min_p > 0 for c in controls)

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Tokens ``[R]`` from ``logits [R, V]`` float32 and ``uniform [R]``."""
        if self.all_greedy:
            return logits.argmax(-1)
        drawn = shaping.draw(self._shaped(logits), uniform)
        return torch.where(self.greedy, logits.argmax(-1), drawn) if self.any_greedy else drawn

    def _shaped(self, logits: Tensor) -> Tensor:
        if self.any_temperature:
            # From the largest down, so that next to no temperature is the likeliest token, and never infinity.
            logits = (logits - logits.amax(-1, keepdim=True)) / self.temperature[:, None]
        if self.any_top_k:
            logits = shaping.keep_top_k(logits, self.top_k)
        if self.any_top_p:
            logits = shaping.keep_top_p(logits, self.top_p)
        if self.any_min_p:
            logits = shaping.keep_min_p(logits, self.min_p)
        return logits
