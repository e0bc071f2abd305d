"""What a view is: one way of looking into a model, as sections of a page and as numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from miaobi.evaluation.report import Section
from miaobi.plugins import name_of

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.models import Model


@dataclass(frozen=True, slots=True)
class Finding:
    """What a view saw.

    Attributes:
        sections: of the page.
        figures: the same in numbers, plain JSON.
    """

    sections: tuple[Section, ...]
    figures: dict[str, Any] = field(default_factory=dict)


class View(ABC):
    """Base of views. `check` before any work, then `look`, with the model in eval mode and without gradients."""

    title: ClassVar[str]
    paper: ClassVar[str]
    """Where it comes from, for the page."""

    @classmethod
    @abstractmethod
    def check(cls, model: Model) -> None:
        """Refuse what this cannot look into.

        Raises:
            Unsupported: with the reason.
        """

    @abstractmethod
    def look(self, context: Context) -> Finding:
        """What is to be seen; the model stays as it was.

        Raises:
            Unsupported: what turns out only when the data is at hand.
        """

    @classmethod
    def name(cls) -> str:
        """The file's name."""
        return name_of(cls)
