"""Muon (Jordan 2024, "Muon: an optimizer for hidden layers in neural networks").

The momentum of a matrix is replaced by the nearest semi-orthogonal matrix, found by a Newton-Schulz iteration that
needs nothing but matrix products, so it runs in bfloat16 where the hardware has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """For hidden matrices only; kernels with more axes are flattened to ``[out, in * extents]``.

    Args:
        parameters: each with at least two axes, or groups of them.
        lr: size of an update: its singular values are near ``lr * sqrt(max(1, rows / columns))``.
        momentum: Nesterov momentum, in [0, 1).
        weight_decay: decoupled, times ``lr``.
        low_precision: iterate in bfloat16.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        low_precision: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)
        self.dtype = torch.bfloat16 if low_precision else torch.float32

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            updates = self._momentum(parameters, group["momentum"])
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            for parameter, update in zip(parameters, self._orthogonal(updates), strict=True):
                aspect = len(parameter) ** 2 / parameter.numel()
                parameter.add_(update, alpha=-group["lr"] * max(1.0, aspect) ** 0.5)

    def _momentum(self, parameters: list[nn.Parameter], momentum: float) -> list[Tensor]:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        return list(torch._foreach_lerp(gradients, buffers, momentum))

    def _orthogonal(self, updates: list[Tensor]) -> list[Tensor]:
        # Matrices of one shape go through the iteration together: small products are bound by their overhead.
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, update in enumerate(updates):
            alike[len(update), update.numel() // len(update)].append(index)
        results = list(updates)
        for shape, indices in alike.items():
            stack = torch.stack([updates[index].reshape(shape) for index in indices])
            for index, result in zip(indices, orthogonalise(stack.to(self.dtype)), strict=True):
                results[index] = result.reshape(updates[index].shape).to(updates[index].dtype)
        return results


def orthogonalise(matrices: Tensor) -> Tensor:
    """Nearly semi-orthogonal matrices ``[K, rows, columns]`` with the same singular vectors.

    Singular values end in a band of about 0.7 to 1.2, which is as good as 1 for an update.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x.float(), keepdim=True).to(x.dtype) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
