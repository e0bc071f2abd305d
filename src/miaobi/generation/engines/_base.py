"""What an engine is: it draws what requests ask for, token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor

from miaobi.models import Model
from miaobi.sampling.decoding import Output, Request
from miaobi.types import Field, Samples, Settings


class DecodingEngine(ABC):
    """Base of engines.

    Args:
        model: whose tokens are drawn.
        config: validated options.

    Raises:
        Unsupported: the engine cannot compute the model.
        MissingExtra: its packages are absent.
    """

    class Config(Settings):
        """The engine's options."""

    edits: ClassVar[bool] = False
    """Whether items that are given in part can be completed."""

    def __init__(self, model: Model, config: Any) -> None:
        self.model, self.config = model, config

    @abstractmethod
    def require(self, controls: Any) -> None:
        """Refuse controls that the engine does not follow.

        Raises:
            Unsupported: names them.
        """

    @abstractmethod
    def draw(self, request: Request, output: Output) -> Iterator[int]:
        """The tokens of one request as they are drawn, the end token too; ends as the request says.

        Raises:
            RequestError: controls that the engine does not follow, or a request that it has no room for.
        """

    @abstractmethod
    def sample(self, conditions: dict[str, Field], *, prefix: Field | None, controls: Any, seeds: Tensor) -> Samples:
        """Items, as the family's own ``sample`` gives them; each depends on its seed alone."""
