"""A Transformer's decoding step as one compiled graph: every span, and one row or several.

One token's worth of work is hundreds of small operations, whose calls cost more than their arithmetic; a compiler joins
them. Four things make it pay: weights are constants (``freezing``), so that they are packed for the matrix products
once; what calls the kernels is C++ as well; spans and row counts are symbols, so that one compilation serves all; and
attention is multiply-and-sum, which becomes one pass over the cache, so a cache in bfloat16 is read at half the cost.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._transformer_decoding import Arranged, Weights

if TYPE_CHECKING:
    from miaobi.networks.transformer import Transformer

_ROWS, _SPAN = 3, 17
"""What is compiled on: neither is 0, 1 or another size that a compiler takes for a constant."""
_WORDS = 40
"""Of a compiler's message."""
_Stamp = tuple[tuple[int, int], ...]
_kept: WeakKeyDictionary[nn.Module, tuple[_Stamp, Weights]] = WeakKeyDictionary()


def weights_of(network: Transformer, dtype: torch.dtype) -> Weights:
    """Those compiled steps were made for, as long as the network's are the same; else new ones."""
    stamp, weights = _kept.get(network, (None, None))
    if weights is not None and weights.dtype == dtype and stamp == _stamp(network):
        return weights
    _kept.pop(network, None)
    return Weights(network, dtype)


def compile_steps(network: Transformer, weights: Weights, rows: int) -> None:
    """Give ``weights`` a compiled step for one row, or for any number above one, and keep them with the network.

    Raises:
        Unsupported: another device than a processor, no compiler, or one that fails.
    """
    if weights.device.type != "cpu":
        raise Unsupported("decoding is compiled for processors only", given=weights.device.type)
    steps = weights.compiled or CompiledSteps(network, weights.dtype)
    steps.compile(rows)
    weights.compiled = steps
    _kept[network] = _stamp(network), weights


def forget_steps(network: nn.Module) -> None:
    """Let go of what was compiled: optimisers may change weights without a trace."""
    _kept.pop(network, None)


def _stamp(network: nn.Module) -> _Stamp:
    """Changes when a parameter is written to or replaced."""
    return tuple((parameter.data_ptr(), parameter._version) for parameter in network.parameters())


class CompiledSteps:
    """The step of a network as its weights are now.

    Args:
        network: on a processor.
        dtype: of weights, activations and cache; sums are in float32.
    """

    def __init__(self, network: Transformer, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._step = _Step(network, dtype).eval()
        self._graphs: dict[tuple[bool, int], Any] = {}

    def ready(self, rows: int) -> bool:
        """Whether a step of so many rows is compiled, for as many threads as there are now."""
        return _kind(rows) in self._graphs

    @torch.no_grad()
    def compile(self, rows: int) -> None:
        """Compile for one row, or for any number above one; takes seconds.

        Raises:
            Unsupported: no compiler, or one that fails.
        """
        several = rows > 1
        graph = torch.compile(self._step.forward, fullgraph=True, dynamic=True)
        try:
            settings = torch._inductor.config.patch(freezing=True, cpp_wrapper=True, compile_threads=1)
            with settings, warnings.catch_warnings():
                # The compiler's own use of what torch deprecates.
                warnings.simplefilter("ignore", DeprecationWarning)
                graph(*self._example(_ROWS if several else 1, several))
        except Exception as error:
            # Whatever the compiler trips over (a missing C++ compiler, most often), decoding goes on without it.
            raise Unsupported(
                "the decoding step could not be compiled",
                given=" ".join(str(error).split()[:_WORDS]) or type(error).__name__,
                cure="install a C++ compiler, or decode without compilation",
            ) from error
        self._graphs[_kind(rows)] = graph

    def drop(self, rows: int) -> None:
        """Forget the graph for so many rows."""
        self._graphs.pop(_kind(rows), None)

    def __call__(
        self,
        tokens: Tensor,
        turn: Tensor,
        places: Tensor,
        lengths: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
    ) -> Tensor:
        """Logits ``[R, V]`` float32 after ``tokens [R]``, whose keys and values are put at ``lengths [R]``.

        Args:
            tokens: one a row.
            turn: ``[R, head / 2, 2]``: cosine and sine of each row's position; computed in here they would be so anew
                for every head of every layer.
            places: ``0 .. E - 1``, E beyond every length.
            lengths: how much of each row is real.
            keys: a layer ``[R, key heads, S, head]`` in the dtype, contiguous; changed in place.
            values: as ``keys``.
        """
        return self._graphs[_kind(len(tokens))](tokens, turn, places, lengths, keys, values)  # type: ignore[no-any-return]

    def _example(self, rows: int, several: bool) -> tuple[Any, ...]:
        step = self._step
        shape = (rows, step.key_heads, _SPAN + 2, step.head_size)
        keys, values = ([torch.zeros(shape, dtype=self.dtype) for _ in step.layers] for _ in range(2))
        tokens, lengths = torch.zeros(rows, dtype=torch.int64), torch.full((rows,), _SPAN - 1)
        turn, places = torch.zeros(rows, step.head_size // 2, 2), torch.arange(_SPAN)
        # Sizes that are marked as dynamic become an input each at every step; these share one where they are equal.
        for cache in (*keys, *values):
            torch._dynamo.mark_static(cache, [1, 3] if several else [0, 1, 3])
        torch._dynamo.mark_static(turn, [1, 2] if several else None)
        for tensor in () if several else (tokens, lengths):
            torch._dynamo.mark_static(tensor)
        return tokens, turn, places, lengths, keys, values


def _kind(rows: int) -> tuple[bool, int]:
    """What a graph is for: several rows or one, and as many threads as there are."""
    return rows > 1, torch.get_num_threads()


class _Layer(nn.Module):
    def __init__(self, arranged: Arranged, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale = None if arranged.scale is None else _constant(arranged.scale, torch.float32)
        self.qkv, self.out = _constant(arranged.qkv, dtype), _constant(arranged.out, dtype)
        self.gate_up, self.down = _constant(arranged.gate_up, dtype), _constant(arranged.down, dtype)


class _Step(nn.Module):
    def __init__(self, network: Transformer, dtype: torch.dtype) -> None:
        super().__init__()
        config = network.config
        self.dtype = dtype
        self.heads, self.key_heads, self.head_size = config.heads, config.key_count, config.head_size
        self.floor, self.head_floor = config.width * config.eps, config.head_size * config.eps
        self.embedding = _constant(network.embed_tokens.weight, dtype)
        self.layers = nn.ModuleList(_Layer(Arranged.of(layer, config), dtype) for layer in network.layers)
        self.last = _constant(network.head * network.norm.weight * config.width**0.5, torch.float32)

    def forward(
        self,
        tokens: Tensor,
        turn: Tensor,
        places: Tensor,
        lengths: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
    ) -> Tensor:
        """See `CompiledSteps.__call__`."""
        rows = torch.arange(tokens.shape[0])
        cos, sin = turn[:, None].unbind(-1)
        hidden = torch.zeros(()).masked_fill(places > lengths[:, None], float("-inf"))[:, None, None]
        x = self.embedding[tokens]
        layers: Any = self.layers
        for layer, cached_keys, cached_values in zip(layers, keys, values, strict=True):
            q, k, v = self._queries(layer, x, cos, sin)
            cached_keys[rows, :, lengths] = k.to(self.dtype)
            cached_values[rows, :, lengths] = v.to(self.dtype)
            end = places.shape[0]
            out = _attend(q, cached_keys[:, :, :end], cached_values[:, :, :end], hidden)
            x = F.linear(out.flatten(1).to(self.dtype), layer.out) + x
            gate, up = F.linear(_unit(x, self.floor).to(self.dtype), layer.gate_up).chunk(2, -1)
            x = F.linear(F.silu(gate) * up, layer.down) + x
        return F.linear(_unit(x, self.floor), self.last)

    def _queries(self, layer: Any, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = F.linear(_unit(x, self.floor).to(self.dtype), layer.qkv).float().unflatten(-1, (-1, self.head_size))
        turned = self.heads + self.key_heads
        qk, v = qkv[:, :turned], qkv[:, turned:]
        if layer.scale is not None:
            qk = _unit(qk, self.head_floor) * layer.scale
        even, odd = qk[..., 0::2], qk[..., 1::2]
        qk = torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)
        return qk[:, : self.heads].unflatten(1, (self.key_heads, -1)), qk[:, self.heads :], v


def _attend(q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor) -> Tensor:
    """``q [R, key heads, group, head]`` against ``[R, key heads, E, head]``, under ``hidden [R, 1, 1, E]``."""
    scores = (q[:, :, :, None] * keys[:, :, None].float()).sum(-1) + hidden
    return (scores.softmax(-1)[..., None] * values[:, :, None].float()).sum(3)


def _unit(x: Tensor, floor: float) -> Tensor:
    """As `_transformer_decoding.unit`, in float32; ``floor`` is squared already."""
    x = x.float()
    return x * (x.square().sum(-1, keepdim=True) + floor).rsqrt()


def _constant(weight: Tensor, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(weight.detach().to(dtype, copy=True), requires_grad=False)
