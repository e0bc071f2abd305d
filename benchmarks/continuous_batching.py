"""Requests of random lengths: taken up as others end, beside fixed batches that wait for their longest."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from benchmarks._common import CONTEXT, Report, language_model, machine, rates
from miaobi.families.autoregressive import Autoregressive
from miaobi.sampling.decoding import Engine, Request, decode

TARGET = 1.7
REQUESTS, SLOTS, ROUNDS, SETS = 64, 16, 3, 4


def main() -> None:
    """Time both, compiled and not; the target is of a server or a large job, which decodes compiled."""
    report = Report(
        "Continuous batching",
        f"{SETS} sets of {REQUESTS} requests of 1 to {CONTEXT - 1} tokens, uniform; {SLOTS} at once; the model of "
        f"cached decoding, bfloat16; tokens that were asked for a second; {machine()}",
        ["decoding", "fixed batches", "fixed, rows that ended let go", "continuous", "continuous / fixed"],
    )
    for compiling in (False, True):
        family = language_model().eval()
        speed = rates(
            {
                "fixed": _run(family, compiling, continuous=False, padded=True),
                "let go": _run(family, compiling, continuous=False, padded=False),
                "continuous": _run(family, compiling, continuous=True, padded=False),
            },
            ROUNDS,
        )
        ratio = speed["continuous"] / speed["fixed"]
        name = "compiled" if compiling else "uncompiled"
        report.rows.append([name, *(f"{value:,.0f} tokens/s" for value in speed.values()), f"{ratio:.2f}x"])
        if compiling:
            report.checks[f"at least {TARGET} times fixed batches, {name}"] = ratio >= TARGET
    report.write()


def lengths(seed: int) -> list[int]:
    """How many tokens each request of a set asks for."""
    draw = random.Random(seed)
    return [draw.randint(1, CONTEXT - 1) for _ in range(REQUESTS)]


def _run(family: Autoregressive, compiling: bool, *, continuous: bool, padded: bool) -> Callable[[], int]:
    controls, sets = family.Controls(), [lengths(seed) for seed in range(SETS)]
    network, output = family.network, family.layout.outputs

    def made(counts: list[int]) -> int:
        requests = [Request((0,), 0, seed + 1, count, controls) for seed, count in enumerate(counts)]
        engine = Engine(network, output, slots=SLOTS, dtype=torch.bfloat16, compiling=compiling)
        return sum(len(tokens) for tokens, _ in decode(engine, requests))

    def one(wanted: list[int]) -> int:
        if continuous:
            return made(wanted)
        for start in range(0, REQUESTS, SLOTS):
            batch = wanted[start : start + SLOTS]
            made([max(batch)] * len(batch) if padded else batch)
        return sum(wanted)

    return lambda: sum(map(one, sets))


if __name__ == "__main__":
    main()
