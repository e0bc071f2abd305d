"""What the tests of both denoising networks share."""

import torch
from hypothesis import strategies as st

from miaobi.networks import Conditioning
from miaobi.types import Field, Form, Spec

SPACES = st.one_of(
    st.tuples(st.integers(1, 70)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)),
)
"""Odd, small and single-position spaces of one to three axes."""

HOW = {
    "label": Conditioning(how="vector"),
    "title": Conditioning(how="sequence"),
    "mask": Conditioning(how="spatial"),
}


def shaped(space, channels=2):
    return Spec(Form.TENSOR, channels, space)


def specs(space):
    return {
        "label": Spec(Form.LABEL, vocabulary=3),
        "title": Spec(Form.TOKENS, vocabulary=7, max_length=5),
        "mask": shaped(space, 1),
    }


def fields(space, rows=3):
    generator = torch.Generator().manual_seed(1)
    present = torch.arange(rows) != rows - 1
    return {
        "label": Field(torch.arange(rows) % 3, present=present),
        "title": Field(
            torch.arange(rows * 5).view(rows, 5) % 7, lengths=torch.arange(rows) % 5 + 1, present=present.flip(0)
        ),
        "mask": Field(torch.rand(rows, 1, *space, generator=generator), present=present),
    }


def build(kind, space, conditions=None, *, ports=(2, 2), size="tiny", perturbed=True, **options):
    source, target = shaped(space, ports[0]), shaped(space, ports[1])
    conditions = conditions or {}
    torch.manual_seed(0)
    config = kind.preset(size, source, target, conditions)
    options = {"conditioner": {name: HOW[name] for name in conditions if name in HOW}, **options}
    network = kind(kind.Config.parse({**config.to_json(), **options}), source, target, conditions)
    if perturbed:
        with torch.no_grad():
            for parameter in network.parameters():
                # Zero-initialised branches would hide what is behind them.
                parameter.add_(torch.randn(parameter.shape) * 0.05)
    return network


def source_batch(network, rows=3):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(rows, network.source.channels, *network.source.space, generator=generator)


def overfit(network, steps, rate=3e-3):
    """(first, last) mean squared error of telling which of four pictures is under the noise, at times to 0.8."""
    torch.manual_seed(0)
    clean = torch.randn(4, *source_batch(network).shape[1:]).sign()
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    x = clean.repeat(4, *[1] * (clean.ndim - 1))
    losses = []
    for _ in range(steps):
        time = 0.8 * torch.rand(16)
        t = time.view(-1, *[1] * (clean.ndim - 1))
        loss = (network((1 - t) * x + t * torch.randn_like(x), time=time) - x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses[0], sum(losses[-10:]) / 10
