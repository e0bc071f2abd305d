"""Gated recurrent unit (Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder")."""

from __future__ import annotations

from torch import nn

from miaobi.networks._recurrent import Recurrent


class GRU(Recurrent):
    """A GRU language model."""

    cell = nn.GRU
