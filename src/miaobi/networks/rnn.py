"""Plain recurrent network with tanh (Elman 1990; as a language model, Mikolov et al. 2010)."""

from __future__ import annotations

from torch import nn

from miaobi.networks._recurrent import Recurrent


class RNN(Recurrent):
    """A plain recurrent language model: the baseline that gates improve on."""

    cell = nn.RNN
