"""Whether something is so: a label of two classes, read strictly."""

from __future__ import annotations

from numbers import Real

from miaobi.errors import UnreadableItem
from miaobi.modalities._base import Raw
from miaobi.modalities.label import Label, name_of_class

_NAMES = {"false": "false", "true": "true", "0": "false", "1": "true"}


class Truth(Label):
    """``false`` (class 0) or ``true`` (class 1), with nothing to fit; an item is its name."""

    def __init__(self) -> None:
        super().__init__(self.Config())
        self._set(("false", "true"))

    def read(self, raw: Raw) -> str:
        """A truth value, 0, 1, or ``true`` or ``false`` in any case.

        Raises:
            UnreadableItem: anything else.
        """
        known = isinstance(raw, str | Real) or hasattr(raw, "dtype")
        name = _NAMES.get(name_of_class(raw).lower()) if known else None
        if name is None:
            raise UnreadableItem(f"{raw!r:.40} is neither true nor false")
        return name
