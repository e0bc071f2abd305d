"""pythae's default VAE trained for a given wall time: run by `images` in an environment of its own, without miaobi.

Usage: python _pythae_peer.py IMAGES.npy SAMPLES.npy SECONDS THREADS COUNT, where images are ``uint8 [N, C, H, W]``.
Everything is at pythae's defaults (MLP networks, mean squared error, Adam 1e-4, batch 64) but the latent, which has
no default and is the 10 of pythae's own examples, and the end, which is the wall time in place of 100 epochs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pythae.models import VAE, VAEConfig
from pythae.samplers import NormalSampler
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

LATENT = 10


class _TimeIsUp(Exception):
    pass


class _Deadline(TrainingCallback):
    """Ends training at the first step past the wall time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.started, self.steps = seconds, time.perf_counter(), 0

    def on_train_begin(self, training_config: Any, **kwargs: Any) -> None:
        self.started = time.perf_counter()

    def on_train_step_end(self, training_config: Any, **kwargs: Any) -> None:
        self.steps += 1
        if time.perf_counter() - self.started > self.seconds:
            raise _TimeIsUp


def main() -> None:
    """Train, draw and save samples; progress goes to standard error."""
    source, destination, seconds, threads, count = sys.argv[1:]
    torch.set_num_threads(int(threads))
    images = torch.from_numpy(np.load(source, allow_pickle=False)).float() / 255
    model = VAE(VAEConfig(input_dim=tuple(images.shape[1:]), latent_dim=LATENT))
    deadline = _Deadline(float(seconds))
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(output_dir=folder, num_epochs=1_000_000)
        trainer = BaseTrainer(model, train_dataset=_dataset(images), training_config=config, callbacks=[deadline])
        try:
            trainer.train()
        except _TimeIsUp:
            print(f"pythae: {deadline.steps} steps", file=sys.stderr)
    model.eval()
    made = NormalSampler(model).sample(num_samples=int(count), batch_size=500, return_gen=True)
    np.save(Path(destination), (made.clamp(0, 1) * 255).round().byte().cpu().numpy())


def _dataset(images: torch.Tensor) -> Any:
    from pythae.data.datasets import BaseDataset

    return BaseDataset(images, torch.zeros(len(images)))


if __name__ == "__main__":
    main()
