"""Looking at a model without leaving a trace: modes, random number generators and gradients stay as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """``module`` in eval mode and without gradients; on leaving, every mode and global random state is as before."""
    modes = [(inner, inner.training) for inner in module.modules()]
    # NumPy's and Python's states belong to libraries that draw from them behind our back (scikit-learn, sacrebleu).
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = {tensor.device for tensor in module.parameters() if tensor.device.type == "cuda"}
    module.eval()
    try:
        with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
            yield
    finally:
        for inner, mode in modes:
            inner.training = mode
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
