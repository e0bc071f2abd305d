"""Feed-forward style transfer: Johnson, Alahi and Fei-Fei 2016, "Perceptual losses for real-time style transfer".

Measured on EfficientNet-lite0 in place of the paper's VGG-16, which no package brings; its textures are coarser.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from pydantic import model_validator
from torch import Tensor

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._style_features import (
    CONTENT,
    LAYERS,
    LEAST_SIDE,
    STYLE,
    USUAL_SIDE,
    FeaturesName,
    features_of,
    gram,
)
from miaobi.families._style_picture import Pattern, style_picture
from miaobi.networks import Network
from miaobi.types import Batch, Form, Loss, Phase, Samples, Spec

_GREY, _COLOUR, _ALPHA = 1, 3, 4
_INSIDE = 0.97
"""Where the painter starts from a fully black or white pixel; at 1 itself it could change nothing."""
_LEAST = 1e-6
"""Energy below which features of the style picture count as none."""
Layers = Annotated[list[str], Value(min_length=1, max_length=10)]
Weight = Annotated[float, Value(ge=0, le=1e6)]


class StyleTransfer(Family):
    """A painter that gives a picture the style of one other picture and leaves what it shows.

    Content is the features of some layers, style how often features of a layer occur together (Gram matrices). The
    squared distances are shares of the style picture's own energy in a layer, so weights mean the same for any
    features. Pictures of 1, 3 or 4 channels, of the size that was trained; transparency stays as it was. Conditions
    are not used. The style picture is kept with the weights, so a saved model needs neither its file nor the features.
    """

    class Config(FamilyConfig):
        """The style, and what content and style are measured on."""

        style: str | Pattern | None = Value(
            None, description="a picture's path, or a pattern; left out: that of the model that model.start names"
        )
        style_side: int | None = Value(
            None, ge=8, le=512, description="pixels a side that the style is scaled to; default: the target's longer"
        )
        features: FeaturesName = Value("efficientnet_lite0", description="pixels: none that were learned")
        side: int | None = Value(
            None,
            ge=8,
            le=512,
            description="longer side at which features see a picture; default: at least 96 (learned)",
        )
        content_layers: Layers | None = Value(None, description="default: stage3 (learned), scale2")
        style_layers: Layers | None = Value(
            None, description="default: colours and stem to stage3 (learned), every scale"
        )
        content_weight: Weight = 1.0
        style_weight: Weight = 5.0
        smoothness: Weight = Value(0.05, description="weight of squared differences between neighbouring pixels")

        @model_validator(mode="after")
        def _known(self) -> StyleTransfer.Config:
            known = LAYERS[self.features]
            for layer in [*(self.content_layers or ()), *(self.style_layers or ())]:
                if layer not in known:
                    raise ValueError(f"{self.features} has no layer {layer!r}; allowed: {', '.join(known)}")
            return self

    class Controls(_base.Controls):
        """How pictures are painted."""

        strength: float = Value(1.0, ge=0, le=1, description="of the style: 0 is the picture as it was")

    tiny = {"features": "pixels", "style": {"colours": ["#202060", "#f0c040"], "width": 2}}
    targets = frozenset({Form.TENSOR})
    roles = {"painter": "convolutional"}
    edits_whole = True
    default_steps = 2000

    painter: Network
    style: Tensor

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        # The pixels are the style from here on: whoever loads the model has not the file.
        super().__init__(config.model_copy(update={"style": None}), networks, parts, target, conditions)
        side = config.style_side or max(*target.space, 8)
        self._given = None if config.style is None else style_picture(config.style, side)
        self.register_buffer("style", torch.zeros(_COLOUR, side, side, dtype=torch.uint8))
        if self._given is not None:
            self.style.copy_(self._given)
        chosen = {*(config.content_layers or CONTENT[config.features])}
        styled = {*(config.style_layers or STYLE[config.features])}
        self.layers = [layer for layer in LAYERS[config.features] if layer in chosen | styled]
        self._of_content = [layer in chosen for layer in self.layers]
        self._of_style = [layer in styled for layer in self.layers]

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """From pictures to how far each pixel is moved."""
        if target.form is not Form.TENSOR or target.dims != 2 or target.channels not in (_GREY, _COLOUR, _ALPHA):
            raise Unsupported(
                "style transfer paints pictures", given=target.to_json(), allowed="images with 1, 3 or 4 channels"
            )
        port = replace(target, levels=0)
        return {"painter": Ports(port, port, {})}

    @classmethod
    def metric(cls, form: Form) -> str:
        """The objective of held-out pictures: content alone is best untouched, style alone best painted over."""
        return "style.stylisation"

    def phases(self) -> list[Phase]:
        """One; training begins with this question, so what it needs is asked for here.

        Raises:
            InvalidRecipe: there is no style to learn.
            MissingExtra: the packages of the features are absent.
        """
        if self._given is not None:
            # Weights that training starts from brought the style that they were trained for.
            self.style.copy_(self._given)
        if not self.style.any():
            raise InvalidRecipe(
                "there is no style to learn, or it is all black", cure="name a picture in model.options.style"
            )
        features_of(self.config.features)
        return [Phase("paint", ("painter",))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The weighted distances, summed over items."""
        original = batch.target.values.float()
        painted = self._painted(original)
        parts = self._distances(original, painted) | {"roughness": _roughness(painted)}
        shown = {name: part.detach().sum() for name, part in parts.items()}
        return Loss(self._objective(parts).sum(), float(len(batch)), shown)

    @torch.no_grad()
    def style_distances(self, batch: Batch) -> dict[str, Tensor]:
        """``[B]`` each: ``objective``, ``content`` and ``style`` as painted, and ``untouched_...`` as they are."""
        original = batch.target.values.float()
        found: dict[str, Tensor] = {}
        for prefix, picture in (("", self._painted(original)), ("untouched_", original)):
            parts = self._distances(original, picture) | {"roughness": _roughness(picture)}
            parts["objective"] = self._objective(parts)
            found |= {prefix + name: part for name, part in parts.items()}
        return found

    def style_signature(self) -> str:
        """What the distances are in terms of: the style picture, features, their size, layers and weights."""
        chosen = self.config.model_dump(mode="json", exclude={"style", "style_side", "condition_drop"})
        chosen |= {
            "side": self._longer_side(),
            "layers": self.layers,
            "content": self._of_content,
            "style": self._of_style,
        }
        picture = hashlib.sha256(self.style.cpu().numpy().tobytes()).hexdigest()[:16]
        return json.dumps({"picture": picture, **chosen}, sort_keys=True)

    @torch.no_grad()
    def edit(self, batch: Batch, mask: Tensor, *, controls: Any = None, seeds: Tensor) -> Samples:
        """The batch's targets painted where ``mask`` (``[B, *space]`` or ``[B, 1 or C, *space]``) is true."""
        controls = controls or self.Controls()
        original = batch.target.values.float()
        where = mask.bool() if mask.ndim == original.ndim else mask.bool()[:, None]
        device = torch.device(self.device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16):
            painted = self._painted(original)
        return Samples(torch.where(where, torch.lerp(original, painted, controls.strength), original))

    def _painted(self, original: Tensor) -> Tensor:
        """Near the original before any training, and always within [-1, 1]."""
        moved: Tensor = self.painter(original).float()
        painted = torch.tanh(torch.atanh(_INSIDE * original) + moved)
        if self.target.channels < _ALPHA:
            return painted
        return torch.cat([painted[:, :_COLOUR], original[:, _COLOUR:]], dim=1)

    def _distances(self, original: Tensor, painted: Tensor) -> dict[str, Tensor]:
        """``[B]`` each: ``content`` from the original and ``style`` from the style picture, averaged over layers."""
        with torch.autocast(painted.device.type, enabled=False):
            with torch.no_grad():
                references = self._maps(self.style[None].float() / 255)
                kept = self._maps(self._coloured(original))
            content, style = [], []
            for index, found in enumerate(self._maps(self._coloured(painted))):
                if self._of_content[index]:
                    energy = references[index].square().mean().clamp(min=_LEAST)
                    content.append((found - kept[index]).square().flatten(1).mean(1) / energy)
                if self._of_style[index]:
                    wanted = gram(references[index])
                    energy = wanted.square().sum().clamp(min=_LEAST**2)
                    style.append((gram(found) - wanted).square().flatten(1).sum(1) / energy)
        return {"content": torch.stack(content).mean(0), "style": torch.stack(style).mean(0)}

    def _objective(self, parts: Mapping[str, Tensor]) -> Tensor:
        config = self.config
        return (
            config.content_weight * parts["content"]
            + config.style_weight * parts["style"]
            + config.smoothness * parts["roughness"]
        )

    def _maps(self, images: Tensor) -> list[Tensor]:
        """Of ``[B, 3, H, W]`` in [0, 1]; the style is scaled as targets are, so that strokes keep their width."""
        name, longer, side = self.config.features, max(self.target.space), self._longer_side()
        size = [max(LEAST_SIDE[name], round(extent * side / longer)) for extent in images.shape[2:]]
        if size != list(images.shape[2:]):
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True).clamp(0, 1)
        return features_of(name).maps(images, self.layers)

    def _longer_side(self) -> int:
        return self.config.side or max(*self.target.space, USUAL_SIDE[self.config.features])

    def _coloured(self, values: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in [0, 1], transparency on white."""
        images = (values + 1) / 2
        if images.shape[1] < _ALPHA:
            return images.expand(-1, _COLOUR, -1, -1)
        colour, alpha = images[:, :_COLOUR], images[:, _COLOUR:]
        return colour * alpha + (1 - alpha)


def _roughness(values: Tensor) -> Tensor:
    """``[B]``: mean squared difference of neighbouring pixels, along both axes."""
    steps = [values.diff(dim=axis).square().flatten(1) for axis in (2, 3)]
    return torch.cat(steps, dim=1).mean(1)
