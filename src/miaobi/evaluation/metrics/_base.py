"""What a metric is: a group of figures computed from a context."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from miaobi.errors import Unsupported
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.families import Sampling, require
from miaobi.plugins import name_of
from miaobi.types import Form, Settings

MUST_MATCH = frozenset(
    {
        "metric",
        "figure",
        "data",
        "trained_on",
        "split",
        "samples",
        "conditions",
        "supplied",
        "modality",
        "preprocessing",
        "extractor",
        "extractor_hash",
        "unit",
        "signature",
        "tokenizer_bound",
        "options",
    }
)
"""What two figures of a metric must share to be compared, where the metric does not say otherwise."""

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


class Metric(ABC):
    """Base of metrics.

    Life: construct with a `Config`; `check` and `check_conditions` before any work; `compute` once a context.
    """

    class Config(Settings):
        """The metric's options."""

    figures: ClassVar[dict[str, Direction]]
    """Figure to direction; the first that is produced is the group's primary figure."""
    paper: ClassVar[str]
    """Where it comes from, for the protocol."""
    ability: ClassVar[type[Any]] = Sampling
    """What the family must be able to do."""
    forms: ClassVar[frozenset[Form]] = frozenset(Form)
    """Targets that it applies to."""
    needs_features: ClassVar[bool] = False
    """Whether it uses a named feature extractor."""
    must_match: ClassVar[frozenset[str]] = MUST_MATCH
    """Keys of the protocol in which two figures must agree to be compared; how texts are cut into tokens is left out of
    ``modality`` unless the figure is bound to its tokenizer."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions that compute the figures, whose versions the protocol tells where no signature does."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def compute(self, context: Context) -> dict[str, Score]:
        """The figures that apply, by name."""

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse what cannot be measured, before any work.

        Raises:
            Unsupported: the family lacks the ability, or the target has another form.
        """
        name = name_of(cls)
        require(family, cls.ability, f"the metric {name}")
        seen = modality.shown
        if seen.form not in cls.forms:
            raise Unsupported(
                f"the metric {name} does not apply to {seen.name}",
                given=f"a target of form {seen.form}",
                allowed=cls.forms,
            )

    def check_conditions(self, conditions: Mapping[str, Modality]) -> None:
        """Refuse options that name a condition which the model does not have, before any work.

        Raises:
            InvalidRecipe: naming those that it has.
        """

    @classmethod
    def stamp(cls, figure: str, common: Protocol, **more: Any) -> Protocol:
        """The whole protocol of a figure: what the context's scores share, and what is the figure's own."""
        own = Protocol(metric=name_of(cls), figure=figure, direction=cls.figures[figure].value, paper=cls.paper)
        return Protocol(**{**own, **common, **more})  # type: ignore[typeddict-item]
