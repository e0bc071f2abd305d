"""diffusers' U-Net, trained or sampled from: run by `denoisers` in an environment of its own, without miaobi.

Usage: python _diffusers_peer.py train|sample bfloat16|float32 BATCH SIDE. The first line written is the number of
parameters; every line read then starts one run, answered by the number of images that it processed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

CHANNELS, BLOCKS, GROUPS, HEAD = (32, 64, 96), 2, 16, 8
STEPS = 50


def main() -> None:
    """Serve runs until there are no more lines."""
    job, precision, batch, side = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr
    torch.manual_seed(0)
    model = _model(int(side))
    make = {"train": _training, "sample": _sampling}[job]
    run = make(model, precision == "bfloat16", int(batch))
    print(sum(parameter.numel() for parameter in model.parameters()), file=answers, flush=True)
    for _ in sys.stdin:
        print(run(), file=answers, flush=True)


def _model(side: int) -> UNet2DModel:
    """The library's layout at this size, with attention where the resolution is coarsest, as in its examples."""
    return UNet2DModel(
        sample_size=side,
        in_channels=3,
        out_channels=3,
        layers_per_block=BLOCKS,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=GROUPS,
        attention_head_dim=HEAD,
    )


def _training(model: UNet2DModel, half: bool, batch: int) -> Callable[[], int]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    side = model.config.sample_size
    x, noise = torch.randn(2, batch, 3, side, side)
    time = torch.rand(batch) * 1000

    def run() -> int:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            made = model(x, time, return_dict=False)[0]
        torch.nn.functional.mse_loss(made.float(), noise).backward()
        optimiser.step()
        optimiser.zero_grad()
        return batch

    return run


def _sampling(model: UNet2DModel, half: bool, batch: int) -> Callable[[], int]:
    pipeline = DDIMPipeline(model.eval(), DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)

    def run() -> int:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            pipeline(batch_size=batch, num_inference_steps=STEPS, output_type="np")
        return batch

    return run


if __name__ == "__main__":
    main()
