"""diffusers' U-Net trained as its example does, and DDIM samples of it: run by `quality`, without miaobi.

Usage: python _diffusers_images.py IMAGES.npy SAMPLES.npy SECONDS THREADS COUNT, where images are ``uint8 [N, H, W, 1]``
of 28 x 28. DDPM's noise prediction with the cosine schedule, AdamW 1e-3 falling by half a cosine, bfloat16 autocast,
batch 64, and an average of weights, which is what is sampled. Prints ``parameters=``, ``steps=`` and ``rate=``.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel

BATCH, RATE, STEPS, SAMPLE_BATCH = 64, 1e-3, 50, 50
WARM_UP, TIMED = 3, 10


def main() -> None:
    """Train for the given seconds, then draw, timing that alone."""
    source, destination, seconds, threads, count = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    images = torch.from_numpy(np.load(source, allow_pickle=False)).permute(0, 3, 1, 2).float() / 127.5 - 1
    model = UNet2DModel(
        sample_size=28, in_channels=1, out_channels=1, layers_per_block=2, block_out_channels=(32, 64, 96),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"), norm_num_groups=16, attention_head_dim=8,
    )  # fmt: skip
    average, steps = _train(model, images, float(seconds))
    average.copy_to(model.parameters())
    pipeline = DDIMPipeline(model.eval(), DDIMScheduler(beta_schedule="squaredcos_cap_v2"))
    pipeline.set_progress_bar_config(disable=True)
    made, started = [], time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, int(count), SAMPLE_BATCH):
            rows = min(SAMPLE_BATCH, int(count) - start)
            made.append(pipeline(batch_size=rows, num_inference_steps=STEPS, output_type="np").images)
    rate = int(count) / (time.perf_counter() - started)
    np.save(destination, np.rint(np.concatenate(made) * 255).astype(np.uint8))
    print(f"parameters={sum(p.numel() for p in model.parameters())} steps={steps} rate={rate}")


def _train(model: UNet2DModel, images: torch.Tensor, seconds: float) -> tuple[EMAModel, int]:
    """As many steps as fit, counted from a few timed ones, so that the rate falls to nothing at the end."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.95, 0.999), fused=True)
    schedule = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    average = EMAModel(model.parameters(), decay=0.999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    started, total, step = time.perf_counter(), None, 0
    while total is None or step < total:
        if step == WARM_UP:
            timed = time.perf_counter()
        if step == WARM_UP + TIMED:
            each = (time.perf_counter() - timed) / TIMED
            total = step + max(1, int((seconds - (time.perf_counter() - started)) / each))
        done = 0.0 if total is None else step / total
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 50) * (1 + math.cos(math.pi * done)) / 2
        clean = images[torch.randint(len(images), (BATCH,))]
        noise, moments = torch.randn_like(clean), torch.randint(1000, (BATCH,))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            said = model(schedule.add_noise(clean, noise, moments), moments, return_dict=False)[0]
        torch.nn.functional.mse_loss(said.float(), noise).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        average.step(model.parameters())
        step += 1
    return average, step


if __name__ == "__main__":
    main()
