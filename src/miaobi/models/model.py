"""`Model`: a family with the modalities that turn its tensors into items and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from miaobi.families import Family
from miaobi.modalities import Item, Modality
from miaobi.sampling.streaming import find_stop
from miaobi.sampling.token_controls import TokenControls


@dataclass
class Model:
    """A family, its modalities, and the models that it needs.

    Attributes:
        family: in eval mode once loaded.
        modality: the target's, fitted.
        conditions: each condition's, fitted; the target's own object where the tokenizer is shared.
        info: where it comes from: recipe, data fingerprint, steps, licence; plain JSON.
        parts: frozen models that it was trained beside, by the names that its representation and views know.
        supplies: by condition, the model that makes it when generating.
    """

    family: Family
    modality: Modality
    conditions: dict[str, Modality] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Model] = field(default_factory=dict)
    supplies: dict[str, Model] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.family.tokenizer, self.family.rules = self.modality.tokenizer, self.modality.rules

    def to(self, device: torch.device | str) -> Model:
        """Itself, with its family and every model that it needs on ``device``."""
        self.family.to(device)
        for other in (*self.parts.values(), *self.supplies.values()):
            other.to(device)
        return self

    def item(self, array: np.ndarray, controls: Any, prefix: np.ndarray | None = None) -> Item:
        """The item of a sample; a text without its first stop string and what follows.

        Args:
            array: as the modality splits samples.
            controls: that it was drawn under.
            prefix: tokens that it was begun with, which no stop string ends.
        """
        item = self.modality.decode(array)
        if not isinstance(controls, TokenControls) or not controls.stop:
            return item
        begin = self.family.target.stream and self.family.target.begin is not None
        start = len(prefix) if prefix is not None else int(begin)
        begun = self.modality.text(self.modality.decode(array[:start])) or ""
        return self.modality.clipped(item, find_stop(self.modality.text(item) or "", controls.stop, len(begun)))
