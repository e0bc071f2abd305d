"""One stream on a processor: the engine llama.cpp beside the engine pytorch, a public model's weights, batch 1.

llama.cpp reads the published 4-bit file; PyTorch the same values in bfloat16, as it is, and compiled where that works.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

import miaobi
from benchmarks._common import Report, machine, rates
from miaobi.families.autoregressive import Autoregressive
from miaobi.generation.engines import DecodingEngine, open_engine
from miaobi.models import Model
from miaobi.sampling.noise import seeds_of
from miaobi.types import Field

MODEL = "starter:smollm2"
PROMPT = "The history of printing begins"
TOKENS = 128
TARGET = 2.0
ROUNDS = 5
_SEEDS = 50


def main() -> None:
    """Time them in turns, and check the target."""
    plain, compiled = miaobi.load(MODEL), miaobi.load(MODEL)
    for model, compiling in ((plain, False), (compiled, True)):
        assert isinstance(model.family, Autoregressive)
        model.family.compiling, model.family.precision = compiling, torch.bfloat16
    contestants = {
        "pytorch": _run(open_engine("pytorch", plain)),
        "pytorch, compiled": _run(open_engine("pytorch", compiled)),
        "llama.cpp": _run(open_engine("llama.cpp", plain)),
    }
    speed = rates(contestants, ROUNDS)
    ratio, faster = (speed["llama.cpp"] / speed[name] for name in ("pytorch", "pytorch, compiled"))
    report = Report(
        "Single streams: the engine llama.cpp",
        f"{MODEL}, {TOKENS} tokens after a prompt, batch 1, bfloat16 in PyTorch, the published file in llama.cpp; "
        f"{machine()}",
        [*contestants, "llama.cpp over pytorch", "over compiled"],
    )
    report.rows.append([*(f"{value:,.0f} tokens/s" for value in speed.values()), f"{ratio:.2f}x", f"{faster:.2f}x"])
    report.checks[f"at least {TARGET} times PyTorch"] = ratio >= TARGET
    report.write()


def _run(engine: DecodingEngine) -> Callable[[], int]:
    prefix = _prefix(engine.model)
    start = int(prefix.values.shape[1])
    controls = type(engine.model.family).Controls.parse({"max_length": start + TOKENS, "temperature": 0.8}, "control")

    def run(seed: int) -> int:
        made = engine.sample({}, prefix=prefix, controls=controls, seeds=seeds_of(seed, range(1)))
        return int(made.values.shape[1]) - start

    # Engines draw differently, and a text that ends early would time the prompt.
    whole = next(seed for seed in range(_SEEDS) if run(seed) == TOKENS)
    return lambda: run(whole)


def _prefix(model: Model) -> Field:
    return model.modality.collate([model.modality.encode_prompt(model.modality.read(PROMPT))])


if __name__ == "__main__":
    main()
