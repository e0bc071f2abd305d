"""`Model`: a family with the modalities that turn its tensors into items and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from miaobi.families import Family
from miaobi.modalities import Modality


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
        self.family.tokenizer = self.modality.tokenizer
