"""Whole public pipelines of images, through the library diffusers: text to image, image to image, inpainting.

A pipeline is taken as it was published: it is sampled, and edits, and nothing of it is trained.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import CorruptFile, MissingExtra, Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports, refuse_prefix
from miaobi.modalities import Modality
from miaobi.modalities._public_files import INDEX, PublicFiles
from miaobi.types import Batch, Field, Form, Loss, Phase, Samples, Spec

PROMPT = "prompt"
"""The one condition: a text."""
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion")


class Pipeline(Family):
    """A pipeline as a family that samples and edits.

    Images are ``[B, 3, H, W]`` in [-1, 1]. The same seeds give the same images, one by one as in a batch.
    """

    class Config(FamilyConfig):
        """Which pipeline."""

        reference: str = ""

    class Controls(_base.Controls):
        """What every pipeline of diffusers understands."""

        steps: int = Value(30, ge=1, le=1000, description="evaluations of the network, about")
        guidance: float = Value(7.5, ge=0, le=100, description="above 1 follows the prompt more")
        negative: str = Value("", max_length=10_000, description="what is not to be seen")
        strength: float = Value(0.8, gt=0, le=1, description="of an edited image: how much of it may change")

    targets: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    roles: ClassVar[dict[str, str]] = {}
    edits_whole = True

    def __init__(self, pipeline: Any, config: Config, target: Spec, text: Modality) -> None:
        super().__init__(config, {}, {}, target, {PROMPT: text.spec})
        self._pipeline, self._text = (pipeline,), text
        self.register_buffer("_place", torch.zeros(()), persistent=False)

    @classmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        return {}

    @classmethod
    def metric(cls, form: Form) -> str:
        return "kernel_distance"

    def phases(self) -> list[Phase]:
        return []

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        raise Unsupported("a public pipeline is not trained", cure="sample it, or train a family of your own")

    @torch.no_grad()
    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """Images for the prompts."""
        refuse_prefix(prefix, "a pipeline", cure="edit a file instead")
        controls = controls or self.Controls()
        height, width = self.target.space
        made = self._run(self._pipeline[0], conditions, controls, seeds, height=height, width=width)
        return Samples(made)

    @torch.no_grad()
    def edit(self, batch: Batch, mask: Tensor, *, controls: Any = None, seeds: Tensor) -> Samples:
        """The targets, changed as the prompts say where ``mask`` is true; all of them where it is true throughout."""
        controls = controls or self.Controls()
        target = batch.target.values.float()
        where = mask.bool() if mask.ndim == target.ndim else mask.bool()[:, None]
        told = {"image": (target + 1) / 2, "strength": controls.strength}
        if bool(where.all()):
            return Samples(self._run(self._turned("Image2Image"), batch.conditions, controls, seeds, **told))
        told["mask_image"] = where[:, :1].float()
        made = self._run(self._turned("Inpainting"), batch.conditions, controls, seeds, **told)
        return Samples(torch.where(where, made, target))

    def _turned(self, kind: str) -> Any:
        """The same parts in the pipeline of another task."""
        import diffusers

        try:
            return getattr(diffusers, f"AutoPipelineFor{kind}").from_pipe(self._pipeline[0])
        except ValueError as error:
            raise Unsupported(
                f"this pipeline has no counterpart for {kind.lower()}: {error}",
                given=type(self._pipeline[0]).__name__,
                cure="choose a pipeline that diffusers can turn, such as Stable Diffusion's",
            ) from None

    def _run(
        self, pipeline: Any, conditions: Mapping[str, Field], controls: Controls, seeds: Tensor, **told: Any
    ) -> Tensor:
        """``[len(seeds), 3, H, W]`` in [-1, 1], an image at a time: a pipeline's batch shares what it draws."""
        prompts = self._prompts(conditions.get(PROMPT), len(seeds))
        made = []
        for row, (prompt, seed) in enumerate(zip(prompts, seeds.tolist(), strict=True)):
            own = {name: part[row : row + 1] if isinstance(part, Tensor) else part for name, part in told.items()}
            generator = torch.Generator(device="cpu").manual_seed(seed)
            with _quiet():
                out = pipeline(
                    prompt=prompt,
                    negative_prompt=controls.negative,
                    num_inference_steps=controls.steps,
                    guidance_scale=controls.guidance,
                    generator=generator,
                    output_type="pt",
                    **own,
                )
            made.append(out.images.float().clamp(0, 1) * 2 - 1)
        return torch.cat(made).to(seeds.device)

    def _prompts(self, field: Field | None, rows: int) -> list[str]:
        """What the prompts say; an absent one says nothing."""
        if field is None:
            return [""] * rows
        told = zip(self._text.split_batch(field.values, field.lengths), field.is_present().tolist(), strict=True)
        return [self._text.decode(array) if present else "" for array, present in told]

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._pipeline[0].to(self._place.device)
        return self


def open_pipeline(files: PublicFiles) -> Any:
    """The pipeline in a folder.

    Raises:
        MissingExtra: diffusers is absent.
        Unsupported: parts that are neither diffusers' nor transformers', or code beside them.
        CorruptFile: it cannot be read.
    """
    try:
        import diffusers
    except ImportError:
        raise MissingExtra("a public pipeline", "pipelines") from None
    _check(files)
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    try:
        loaded = diffusers.DiffusionPipeline.from_pretrained(
            files.folder, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # noqa: BLE001 - a broken folder makes the libraries raise anything
        raise CorruptFile(f"the pipeline cannot be read: {error}", given=files.reference) from None
    loaded.set_progress_bar_config(disable=True)
    return loaded


def spec_of(pipeline: Any) -> Spec:
    """The images that a pipeline was made for."""
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    side = getattr(getattr(network, "config", None), "sample_size", None)
    if side is None:
        raise Unsupported("the pipeline does not say what images it makes", given=type(pipeline).__name__)
    height, width = (side, side) if isinstance(side, int) else side
    factor = getattr(pipeline, "vae_scale_factor", 1)
    return Spec(Form.TENSOR, channels=3, space=(height * factor, width * factor), levels=256)


def _check(files: PublicFiles) -> None:
    code = sorted(path.name for path in files.folder.rglob("*.py"))
    if code:
        raise Unsupported("the pipeline brings code of its own, which is not run", given=code[:3])
    index = files.json(INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str):
        raise Unsupported("the pipeline asks for code of its own to be run", given=json.dumps(name))
    for part, where in index.items():
        if isinstance(where, list) and where[:1] not in ([None], *([library] for library in _LIBRARIES)):
            raise Unsupported(
                f"the pipeline's {part} is of a library that is not known", given=where, allowed=_LIBRARIES
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that a pipeline has about its own options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
