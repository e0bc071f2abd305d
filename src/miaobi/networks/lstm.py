"""Long short-term memory (Hochreiter and Schmidhuber 1997; forget gates of Gers et al. 2000)."""

from __future__ import annotations

import torch
from torch import nn

from miaobi.networks._recurrent import Recurrent
from miaobi.types import Spec


class LSTM(Recurrent):
    """An LSTM language model; forget gates start open (Jozefowicz et al. 2015)."""

    cell = nn.LSTM

    def __init__(self, config: Recurrent.Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        with torch.no_grad():
            for name, bias in self.layers.named_parameters():
                if name.startswith("bias_ih"):
                    bias[config.hidden : 2 * config.hidden] = 1.0
