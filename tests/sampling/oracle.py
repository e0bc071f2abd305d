"""Decoding without a cache, an engine or a batch: what an item should be, and how near it came to be another."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from miaobi.sampling.noise import uniform
from miaobi.types import Field
from tests.sampling.random_worlds import COUNTS, WORDS, Item, World

NEVER = -np.inf
NEAR = 1e-4
"""What rounding may move: logits, by so much; probabilities, too."""


@dataclass(frozen=True)
class Choice:
    """A token, what the model gives it in nats, and by how little another would have been chosen."""

    token: int
    log_prob: float
    margin: float


def choices(world: World, item: Item, request: Any, drawn: Sequence[int]) -> list[Choice]:
    """What follows each beginning of ``drawn`` (but all of it), from a whole forward pass each."""
    own, free = zip(*windows(world, request, drawn), strict=True)
    numbers = uniform(torch.tensor([request.seed]), "token", (len(drawn),))[0].tolist()
    told = logits(world, item, own)
    untold = logits(world, item, free, free=True) if request.controls.guidance != 1 else told
    return [
        _choose(world, request, list(drawn[:place]), told[place], untold[place], numbers[place])
        for place in range(len(drawn))
    ]


def windows(world: World, request: Any, drawn: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """What is fed before each of ``drawn``, with conditions and without; past the network's limit, its newest half."""
    limit = None if world.name == COUNTS else world.family.network.limit
    starts = [list(request.tokens), list(request.tokens if request.free is None else request.free)]
    rest = len(request.tokens) - request.head

    def cut(start: list[int], count: int) -> list[int]:
        tokens = [*start, *drawn[:count]]
        if limit is None or len(tokens) <= limit:
            return tokens
        head = len(start) - rest
        return tokens[:head] + tokens[max(head, len(tokens) - max(1, (limit - head) // 2)) :]

    guided = request.controls.guidance != 1
    found, seen = [], [cut(start, 0) for start in starts]
    for count, token in enumerate(drawn, start=1):
        found.append((seen[0], seen[1]))
        if limit is not None and max(map(len, seen if guided else seen[:1])) >= limit:
            seen = [cut(start, count) for start in starts]
        else:
            seen = [[*context, token] for context in seen]
    return found


@torch.no_grad()
def logits(world: World, item: Item, contexts: Sequence[list[int]], *, free: bool = False) -> np.ndarray:
    """Of what may follow each context, float64 ``[contexts, size]``."""
    family, output = world.family, world.family.layout.outputs
    if world.name == COUNTS:
        found = torch.stack([_counted(world, context) for context in contexts])
    else:
        lengths = torch.tensor([len(context) for context in contexts])
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(context) for context in contexts], batch_first=True)
        told = {} if free or not world.reads else {n: _spread(f, len(contexts)) for n, f in item.fields(world).items()}
        found = family.network(padded, told)[torch.arange(len(contexts)), lengths - 1]
    found = found[:, : output.size].double()
    if output.banned is not None:
        found[:, output.banned] = NEVER
    return found.numpy()


def _counted(world: World, context: list[int]) -> torch.Tensor:
    family, layout = world.family, world.family.layout
    heads = 2 * len(layout.slots) + (layout.begin is not None)
    labels = [context[2 * place + 1] - slot.offset for place, slot in enumerate(layout.slots.values())]
    width = family.config.order - 1
    begin = -1 if layout.begin is None else layout.begin
    history = torch.tensor([([begin] * width + context[heads:])[len(context) - heads :]]).view(1, width)
    label = family.combine(torch.tensor([labels], dtype=torch.int64).view(1, -1))
    return family.counts.next_probabilities(history.clamp(min=0), history >= 0, label).log()[0]


def _spread(field: Field, rows: int) -> Field:
    return field.map(lambda tensor: tensor.expand(rows, *tensor.shape[1:]))


def shaped(world: World, request: Any, before: list[int], told: np.ndarray, untold: np.ndarray) -> np.ndarray:
    """Logits ``[size]`` after everything but temperature and cuts."""
    controls, layout = request.controls, world.family.layout
    z = guided(controls.guidance, told, untold)
    if layout.outputs.unknown is not None:
        z[layout.outputs.unknown] = NEVER
    text = [*request.tokens[request.head :], *before]
    for token in {token for token in text if token < len(z)}:
        z[token] = z[token] / controls.repetition_penalty if z[token] > 0 else z[token] * controls.repetition_penalty
    for token, bias in controls.logit_bias.items():
        z[token] += bias
    kept, size = z.copy(), controls.no_repeat_ngram
    if size is not None:
        grams = {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}
        for token in range(len(z)):
            if tuple([*text, token][-size:]) in grams:
                kept[token] = NEVER
    if layout.end is not None and len(text) < (controls.min_length or 0):
        kept[layout.end] = NEVER
    return kept if (kept > NEVER).any() else z


def guided(scale: float, told: np.ndarray, untold: np.ndarray) -> np.ndarray:
    """The same with guidance."""
    z = told.copy()
    if scale != 1:
        there, told, untold = told > NEVER, normal(told), normal(untold)
        z[there] = untold[there] + scale * (told[there] - untold[there])
    return z


def normal(z: np.ndarray) -> np.ndarray:
    """Log-probabilities."""
    return np.asarray(z - np.logaddexp.reduce(z, axis=-1, keepdims=True))


def _choose(
    world: World, request: Any, before: list[int], told: np.ndarray, untold: np.ndarray, number: float
) -> Choice:
    controls = request.controls
    z = shaped(world, request, before, told, untold)
    if controls.temperature == 0:
        best, second, *_ = np.sort(z)[::-1]
        token = int(z.argmax())
        return Choice(token, float(normal(told)[token]), float(best - second))
    z, margins = z / controls.temperature, [np.inf]
    order = np.argsort(-z, kind="stable")
    if controls.top_k is not None and controls.top_k < len(z):
        last, after = z[order[controls.top_k - 1]], z[order[controls.top_k]]
        margins.append(last - after if last > NEVER else np.inf)
        z = np.where(z < last, NEVER, z)
    if controls.top_p < 1:
        p = _softmax(z)[order]
        reached = np.cumsum(p) - p
        count = max(1, int((reached < controls.top_p).sum()))
        margins += [np.abs(reached[1:] - controls.top_p).min(), p[count - 1] - p[min(count, len(p) - 1)]]
        margins[-1] = margins[-1] if count < len(p) else np.inf
        z[order[count:]] = NEVER
    if controls.min_p > 0:
        floor = z.max() + np.log(controls.min_p)
        margins.append(np.abs(z - floor).min())
        z = np.where(z < floor, NEVER, z)
    reached = np.cumsum(_softmax(z))
    token = int(np.searchsorted(reached, number * reached[-1]))
    margins.append(np.abs(reached[:-1] - number).min())
    return Choice(token, float(normal(told)[token]), float(min(margins)))


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return np.asarray(e / e.sum())


def text_of(item_prefix: Sequence[int], drawn: Sequence[int], stops: Sequence[str]) -> tuple[str, int | None]:
    """The text that ``drawn`` adds, up to the first stop string to be complete, and how many tokens that took."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in item_prefix:
        decoder.decode(WORDS[token])
    text = ""
    for count, token in enumerate(drawn, start=1):
        text += decoder.decode(WORDS[token])
        places = [text.find(stop) for stop in stops if stop in text]
        if places:
            return text[: min(places)], count
    return text + decoder.decode(b"", final=True), None


def beam(world: World, item: Item, request: Any) -> tuple[list[int], float, float]:
    """The best candidate with a whole forward pass for each, its log-probability, and the nearest decision's margin."""
    beams, limit, layout = request.controls.beams, request.limit, world.family.layout
    live: list[tuple[list[int], float, float]] = [([], 0.0, 0.0)]
    ended: list[tuple[list[int], float, float]] = []
    margin = np.inf

    def value(score: float, length: int) -> float:
        return float(score / ((5 + length) / 6) ** request.controls.length_penalty)

    while live:
        told = normal(logits(world, item, [[*request.tokens, *tokens] for tokens, *_ in live]))
        steps = told
        if request.controls.guidance != 1:
            free = request.tokens if request.free is None else request.free
            untold = logits(world, item, [[*free, *tokens] for tokens, *_ in live], free=True)
            steps = normal(guided(request.controls.guidance, told, untold))
        found = [
            ([*tokens, token], score + steps[row, token], total + told[row, token])
            for row, (tokens, score, total) in enumerate(live)
            for token in range(steps.shape[1])
            if steps[row, token] > NEVER and token != layout.outputs.unknown
        ]
        found.sort(key=lambda one: -one[1])
        scores = [one[1] for one in found[: 2 * beams + 1]]
        margin = min([margin, *(left - right for left, right in pairwise(scores))])
        ended += [one for one in found[:beams] if one[0][-1] == layout.end]
        live = [one for one in found[: 2 * beams] if one[0][-1] != layout.end][:beams]
        if live and len(live[0][0]) == limit:
            ended, live = ended + live, []
        if ended and live:
            length = len(live[0][0]) if len(ended) >= beams else limit
            gap = max(value(one[1], len(one[0])) for one in ended) - value(live[0][1], length)
            margin, live = min(margin, abs(gap)), [] if gap >= 0 else live
    values = sorted((value(one[1], len(one[0])) for one in ended), reverse=True)
    margin = min(margin, values[0] - values[1]) if len(values) > 1 else margin
    best = max(ended, key=lambda one: value(one[1], len(one[0])))
    return best[0], best[2], float(margin)
