"""Whether samples obey what was asked of them: words that must appear, a length, a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import regex
from pydantic import Field as Value
from pydantic import field_validator, model_validator

from miaobi.errors import InvalidRecipe
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.metrics._pairs import require_text, sources
from miaobi.evaluation.records import Direction, Score
from miaobi.plugins import name_of
from miaobi.sampling.contents import count_lines
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_SECONDS = 1.0
_MOST_TIMEOUTS = 10
_COMMAS = regex.compile("[,;，、；]")
Count = Annotated[int, Value(ge=0, le=10**6)]
Rule = Callable[[str], bool]


class Obedience(Metric):
    """The share of samples that obey every rule asked for, and each of them.

    The rules are this metric's options (``evaluate.options.obedience``), the same for every sample and independent of
    how the model was asked to follow them: through its sampling controls, a prompt, or not at all. Where no metric is
    named and the controls ask for keywords, lines or a regular expression, `evaluate` adds this one with those rules.
    The floor is the share of held-out items that happen to obey.

    Pitfalls. Obeying is not being good: an empty text can be short enough. Keywords are looked for as they are, also
    inside longer words. A pattern has to match the whole text and has a second of computing a text; one that takes
    longer counts as not obeyed and is stamped, since a slower machine may have more of them.
    """

    class Config(Settings):
        """What is asked of every sample; at least one rule."""

        keywords: list[Annotated[str, Value(min_length=1, max_length=200)]] = Value(
            [], max_length=100, description="all of them must appear, upper and lower case told apart"
        )
        keywords_from: str | None = Value(
            None, description="a text condition whose words, parted by commas, must appear in that item's sample"
        )
        lines: tuple[Count, Count] | None = Value(None, description="fewest and most lines that are not blank")
        characters: tuple[Count, Count] | None = Value(None, description="fewest and most characters")
        pattern: str | None = Value(
            None, min_length=1, max_length=1000, description="regular expression that matches the whole text"
        )

        @field_validator("pattern")
        @classmethod
        def _compiles(cls, value: str | None) -> str | None:
            try:
                regex.compile(value or "")
            except (regex.error, RecursionError, OverflowError) as error:
                raise ValueError(f"not a regular expression: {error}") from None
            return value

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            for name in ("lines", "characters"):
                limits = getattr(self, name)
                if limits is not None and limits[0] > limits[1]:
                    raise ValueError(f"{name}: the fewest come first")
            return self

    figures: ClassVar[dict[str, Direction]] = {
        "obeys": Direction.HIGHER,
        "obeys_keywords": Direction.HIGHER,
        "obeys_keywords_from": Direction.HIGHER,
        "obeys_lines": Direction.HIGHER,
        "obeys_characters": Direction.HIGHER,
        "obeys_pattern": Direction.HIGHER,
    }
    paper: ClassVar[str] = (
        'verifiable instructions: Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models"'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    def __init__(self, config: Any) -> None:
        """
        Raises:
            InvalidRecipe: no rule is given.
        """
        super().__init__(config)
        if config == self.Config():
            raise InvalidRecipe(
                "the metric obedience has no rule to check",
                allowed=self.Config.model_fields,
                cure="set evaluate.options.obedience in the recipe, or give evaluate() the options",
            )

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is not text.
        """
        super().check(family, modality)
        require_text(name_of(cls), modality)

    def compute(self, context: Context) -> dict[str, Score]:
        """``obeys``, and a figure for each rule that is asked for, 0 to 1.

        Raises:
            InvalidRecipe: the pattern takes too long on too many texts, or ``keywords_from`` is no text condition.
        """
        format_ = None if self.config.pattern is None else Format(self.config.pattern)
        told = None if self.config.keywords_from is None else sources(context, self.config.keywords_from)
        each = [rules(self.config, format_, None if told is None else told[row]) for row in range(context.count)]
        found, real = (
            [kept(chosen, text) for chosen, text in zip(each, side, strict=True)]
            for side in (context.generated_items, context.real_items)
        )
        detail = {"rules": self.config.to_json(), "timeouts": format_.timeouts if format_ else 0}
        scores = {}
        for figure in ("obeys", *(f"obeys_{name}" for name in each[0])):
            right, floor = (sum(item[figure] for item in side) for side in (found, real))
            protocol = self.stamp(
                figure,
                context.sample_stamp(),
                unit="share of samples",
                interval_method="95 %, Wilson",
                floor_method="the same share of the held-out items",
                floor_samples=context.count,
                detail=detail,
            )
            scores[figure] = Score(right / context.count, share(right, context.count), floor / context.count, protocol)
        return scores


def asked(controls: Settings) -> dict[str, Any]:
    """The options that say what sampling controls ask for; empty where they ask for nothing that is a rule here."""
    found = {
        "keywords": list(getattr(controls, "keywords", ())),
        "lines": getattr(controls, "lines", None),
        "pattern": getattr(controls, "regex", None),
    }
    chosen = {name: value for name, value in found.items() if value}
    try:
        Obedience.Config.parse(chosen)
    except InvalidRecipe:
        # A constraint may be written in a way, or at a length, that this metric's patterns are not.
        chosen.pop("pattern", None)
    return chosen


class Format:
    """A regular expression that has a second a text."""

    def __init__(self, pattern: str) -> None:
        self._pattern = regex.compile(pattern)
        self.timeouts = 0

    def __call__(self, text: str) -> bool:
        """Whether it matches the whole text in time.

        Raises:
            InvalidRecipe: it was too slow ten times.
        """
        try:
            return self._pattern.fullmatch(text, timeout=_SECONDS) is not None
        except TimeoutError:
            self.timeouts += 1
        if self.timeouts >= _MOST_TIMEOUTS:
            raise InvalidRecipe(
                f"the pattern took more than a second on {self.timeouts} texts",
                given=self._pattern.pattern,
                cure="write it without repeats inside repeats",
            )
        return False


def rules(config: Any, format_: Rule | None, told: str | None = None) -> dict[str, Rule]:
    """The rules that are asked for, by name; ``told`` is the condition that an item's keywords are from."""
    own = None if told is None else [word.strip() for word in _COMMAS.split(told) if word.strip()]
    found: dict[str, Rule | None] = {
        "keywords": _holds(config.keywords or None),
        "keywords_from": _holds(own),
        "lines": _within(config.lines, count_lines),
        "characters": _within(config.characters, len),
        "pattern": format_,
    }
    return {name: rule for name, rule in found.items() if rule is not None}


def kept(chosen: Mapping[str, Rule], text: str) -> dict[str, bool]:
    """Whether a text obeys each rule, as ``obeys_NAME``, and all of them, as ``obeys``."""
    each = {f"obeys_{name}": rule(text) for name, rule in chosen.items()}
    return {"obeys": all(each.values()), **each}


def _holds(words: Sequence[str] | None) -> Rule | None:
    return None if words is None else lambda text: all(word in text for word in words)


def _within(limits: tuple[int, int] | None, count: Callable[[str], int]) -> Rule | None:
    return None if limits is None else lambda text: limits[0] <= count(text) <= limits[1]
