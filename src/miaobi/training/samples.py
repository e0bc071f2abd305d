"""Live samples: what the run would ship, seen as it learns, with the same seeds every time."""

from __future__ import annotations

from pathlib import Path

import torch

from miaobi.families import Sampling
from miaobi.sampling.noise import seeds_of
from miaobi.training import guards
from miaobi.training.assembly import Assembly
from miaobi.types import Batch, Field, Form, Samples

SHOWN = 4
TOKENS = 128
"""Longest live sample: a glance must not cost more than the training around it."""
WHOLE_ITEMS = frozenset(
    {"regex", "json_schema", "choices", "keywords", "lines", "best_of", "beams", "length_penalty", "min_length"}
)
"""Controls that need an item's whole length, or several of it: left out of live samples."""
COMPARED = 64
"""Samples whose diversity is compared with the data's."""


def draw(assembly: Assembly, count: int) -> tuple[Samples, Batch] | None:
    """Samples under the conditions of the first held-out items, and these items; ``None`` from a family that has none.

    Seeds are fixed in the run.
    """
    data = assembly.prepared.validation if len(assembly.prepared.validation) else assembly.prepared.train
    batch = data.batch([row % len(data) for row in range(count)], augment=None).to(assembly.processes.device)
    seeds = seeds_of(assembly.recipe.seed, range(count)).to(assembly.processes.device)
    start = _start(assembly, batch)
    lengths = None
    if assembly.prepared.target.form is Form.TOKENS:
        begun = 0 if start is None or start.lengths is None else start.lengths
        lengths = torch.full((count,), TOKENS, device=seeds.device) + begun
        lengths = lengths.clamp(max=assembly.prepared.target.max_length)
    with assembly.resting() as family:
        if not isinstance(family, Sampling):
            return None
        asked = {key: value for key, value in assembly.recipe.evaluate.control.items() if key not in WHOLE_ITEMS}
        controls = type(family).Controls.parse(asked, "evaluate.control")
        made = family.sample(batch.conditions, prefix=start, lengths=lengths, controls=controls, seeds=seeds)
        return made, batch


def _start(assembly: Assembly, batch: Batch) -> Field | None:
    """What was said before dialogues' last answers; the first tokens of text that has no line end to start after."""
    target = assembly.prepared.target
    if target.form is not Form.TOKENS:
        return None
    return Field(batch.target.values[:, :1]) if target.stream and target.begin is None else batch.target.before_last()


def write(assembly: Assembly, step: int, folder: Path) -> list[Path]:
    """Write a few samples as ``STEP-INDEX.*``; what was written."""
    drawn = draw(assembly, SHOWN)
    if drawn is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    modality = assembly.prepared.modality
    written = []
    made = drawn[0].to("cpu")
    for index, array in enumerate(modality.split_batch(made.values, made.lengths)):
        written.append(modality.write(modality.decode(array), folder / f"{step:08d}-{index}")[0])
    return written


def diversity(assembly: Assembly) -> float | None:
    """The diversity of samples as a share of the data's; ``None`` where nothing is adversarial, or data is too little.

    Only adversarial training (more than one set of trained modules) rewards leaving out part of the data.
    """
    if len(assembly.optimisers) < 2 or len(assembly.prepared.train) < 2:
        return None
    drawn = draw(assembly, COMPARED)
    if drawn is None:
        return None
    samples, held_out = drawn
    real = guards.diversity(held_out.target)
    return guards.diversity(samples.field()) / real if real > 0 else None
