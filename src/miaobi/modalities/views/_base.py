"""What a view is: a function of the target that a model is then conditioned on.

A model that is told a degraded target learns to restore it: super-resolution, inpainting, deblurring, and video from
its first frame are all one conditional model and a view.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.types import Form, Settings, Spec


class View(ABC):
    """Base of views.

    A view of a tensor with space has the target's own space, so that networks can lay it over the target.
    """

    class Config(Settings):
        """The view's options in a recipe."""

    form: ClassVar[Form] = Form.TENSOR
    """Of the targets that it can be taken of, and of the view."""
    dims: frozenset[int] = frozenset({1, 2, 3})
    """Numbers of space axes that it can be taken of, where those are tensors."""

    def __init__(self, config: Any) -> None:
        self.config: Any = config

    def spec(self, target: Spec) -> Spec:
        """What the view of such a target looks like.

        Raises:
            Unsupported: there is no such view of this target.
        """
        if target.form is not self.form or (self.form is Form.TENSOR and target.dims not in self.dims):
            raise Unsupported(
                f"the view {type(self).__name__.lower()} cannot be taken of this target",
                given=f"{target.form} with {target.dims} space axes",
                allowed=self._wanted(),
            )
        return self._spec(target)

    @abstractmethod
    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        """The view ``[B, ...]`` of targets ``[B, C, *space]`` in [-1, 1]; ``seeds [B]`` are its only randomness.

        Of tokens ``[B, L]`` it is as long as they are, whatever it makes of the padding.
        """

    def given(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """What a user gave, as the view would have made it: the file is the degraded target itself.

        Args:
            values: the file, encoded as a target.
            mask: ``[B, 1, *space]``, 1 where the target is to be made anew.

        Raises:
            Unsupported: a mask, where the view has no use for one.
        """
        if mask is not None:
            raise Unsupported("this model takes no mask", cure="leave --mask out, or train with the view mask")
        return values

    def bind(self, parts: Mapping[str, Any]) -> View:
        """The view with the frozen parts that it computes through; the default needs none."""
        return self

    def _wanted(self) -> str:
        if self.form is not Form.TENSOR:
            return f"targets of form {self.form}"
        return f"tensors with {', '.join(map(str, sorted(self.dims)))} space axes"

    def _spec(self, target: Spec) -> Spec:
        return Spec(Form.TENSOR, channels=target.channels, space=target.space)
