"""A dictionary learned from pairs: the classical floor under every model that rewrites one text into another.

Word by word, in the source's order: each source word becomes the target word that belongs to it most, by Dunning's
log-likelihood ratio over counts of what occurs together (Moore 2004, "Improving IBM word-alignment model 1", starts
from the same); a word that nothing belongs to is copied. Learns in one pass; nothing is optimised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports, refuse_prefix
from miaobi.families._cooccurrence import NONE, Cooccurrence
from miaobi.families._words import Segmenter, Word
from miaobi.networks import Network
from miaobi.sampling.noise import uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec


class Dictionary(Family):
    """Words are runs of tokens of the tokenizer that source and target share; see `Segmenter`.

    Without its source an item is words drawn as often as targets have them.
    """

    class Config(FamilyConfig):
        """What the likelihood assumes."""

        background: float = Value(
            0.2, gt=0, lt=1, description="share of target words that no source word stands for, in the likelihood"
        )

    class Controls(_base.Controls):
        """How words are chosen."""

        temperature: float = Value(
            0.0, ge=0, le=100, description="0 takes the word that belongs most; 1 draws by how much each belongs"
        )

    targets = frozenset({Form.TOKENS})
    roles: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.counts = Cooccurrence()
        (self.source,) = conditions
        self._segmenter: tuple[Any, Segmenter] | None = None

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """No network; one source, of the target's own tokens."""
        sources = [name for name, spec in conditions.items() if spec.form is Form.TOKENS]
        if target.stream or len(conditions) != 1 or not sources:
            raise Unsupported(
                "dictionary rewrites one condition of text into another text",
                given={name: str(spec.form) for name, spec in conditions.items()} or "no condition",
                cure="name exactly one condition of text under data.condition",
            )
        if not conditions[sources[0]].shared:
            raise Unsupported(
                "dictionary copies words that it does not know, so both sides need one tokenizer",
                given=f"condition {sources[0]!r} with a tokenizer of its own",
                cure=f"write data.condition: {{{sources[0]}: text}}, without options of its own",
            )
        return {}

    @classmethod
    def metric(cls, form: Form) -> str:
        return "likelihood"

    def phases(self) -> list[Phase]:
        return []

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        cure = "call observe: it learns by counting"
        raise Unsupported("dictionary has no loss", given=f"phase {phase!r}", cure=cure)

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Count a batch; items without their source are passed over."""
        sources, targets = self._sources(batch.conditions, len(batch)), self._words(batch.target)
        told = [(source, target) for source, target in zip(sources, targets, strict=True) if source is not None]
        self.counts.add([source for source, _ in told], [target for _, target in told])

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """IBM model 1's (Brown et al. 1993) with this dictionary, a Poisson number of words, and spelled new words.

        An upper bound: a known word could be spelled too, which is not counted. ``seeds`` are not needed.
        """
        sources, targets = self._sources(batch.conditions, len(batch)), self._words(batch.target)
        nats = [self._nats(source, target) for source, target in zip(sources, targets, strict=True)]
        predicted = batch.target.mask().sum(1) + 1
        return Bound(torch.tensor(nats, device=predicted.device), exact=False, predicted=predicted)

    @torch.no_grad()
    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Controls | None = None,
        seeds: Tensor,
    ) -> Samples:
        """Token sequences, cut to the longest that the target may have."""
        refuse_prefix(prefix, "dictionary")
        temperature = (controls or self.Controls()).temperature
        limit = self.target.max_length
        caps = [limit] * len(seeds) if lengths is None else lengths.clamp(max=limit).tolist()
        rows = []
        for place, source in enumerate(self._sources(conditions, len(seeds))):
            seed = seeds[place : place + 1].cpu()
            words = self._unigrams(seed) if source is None else self._rewritten(source, temperature, seed)
            rows.append(torch.tensor([token for word in words for token in word][: caps[place]], dtype=torch.int64))
        values = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return Samples(values, torch.tensor([len(row) for row in rows])).to(self.device)

    def _rewritten(self, source: Sequence[Word], temperature: float, seed: Tensor) -> list[Word]:
        numbers, links = self.counts.number(source).tolist(), self.counts.links
        chosen = [NONE if number == NONE else int(links.best[number]) for number in numbers]
        if temperature:
            draws = uniform(seed, "dictionary", (len(source),))[0].tolist()
            for place, draw in enumerate(draws):
                if chosen[place] != NONE:
                    words, weights = links.of_word(numbers[place])
                    chosen[place] = int(words[_drawn(np.log(weights) / temperature, draw)])
        pairs = zip(source, chosen, strict=True)
        return [word if number == NONE else self.counts.word(number) for word, number in pairs]

    def _unigrams(self, seed: Tensor) -> list[Word]:
        frequency = self.counts.frequency.cpu().numpy()
        if not frequency.any():
            return []
        sizes = np.arange(self.target.max_length + 1)
        size = _drawn(_poisson(sizes, self._expected(None)), float(uniform(seed, "length")))
        with np.errstate(divide="ignore"):
            logs = np.log(frequency)
        return [self.counts.word(_drawn(logs, draw)) for draw in uniform(seed, "dictionary", (size,))[0].tolist()]

    def _nats(self, source: Sequence[Word] | None, target: Sequence[Word]) -> float:
        logs = self._background(target)
        if source:
            logs = logs + math.log(self.config.background)
            with np.errstate(divide="ignore"):
                translated = np.log(self._translated(source, target)) + math.log(1 - self.config.background)
            logs = np.logaddexp(logs, translated)
        length = _poisson(np.array(len(target)), self._expected(source))
        return -float(logs.sum() + length)

    def _translated(self, source: Sequence[Word], target: Sequence[Word]) -> np.ndarray:
        """How probable each target word is where each source word is as likely to stand for it: ``float64 [T]``."""
        numbers, links = self.counts.number(source), self.counts.links
        weights = links.weight(numbers, self.counts.number(target))
        for place, number in enumerate(numbers.tolist()):
            if number == NONE or links.best[number] == NONE:
                weights[place] = [source[place] == word for word in target]
        return np.asarray(weights.mean(0))

    def _background(self, words: Sequence[Word]) -> np.ndarray:
        """How probable each word is by itself, as logs: by Witten and Bell (1991), new words spelled by tokens."""
        frequency = self.counts.frequency.cpu().numpy()
        total, kinds = int(frequency.sum()), np.count_nonzero(frequency)
        counts = np.array([0 if at == NONE else frequency[at] for at in self.counts.number(words).tolist()])
        spelled = -math.log(2 * self.target.vocabulary) * np.array([len(word) for word in words])
        if not total:
            return spelled
        logs = np.where(counts > 0, np.log(np.maximum(counts, 1)), math.log(kinds) + spelled)
        return logs - math.log(total + kinds)

    def _expected(self, source: Sequence[Word] | None) -> float:
        """Target words to expect."""
        items, before, after = self.counts.totals.tolist()
        if source is None:
            return max(1, after) / max(1, items)
        return max(1, len(source)) * (max(1, after) / before if before else 1.0)

    def _sources(self, conditions: Mapping[str, Field], rows: int) -> list[list[Word] | None]:
        field = conditions.get(self.source)
        if field is None:
            return [None] * rows
        present = field.is_present().tolist()
        return [words if there else None for words, there in zip(self._words(field), present, strict=True)]

    def _words(self, field: Field) -> list[list[Word]]:
        if self._segmenter is None or self._segmenter[0] is not self.tokenizer:
            self._segmenter = self.tokenizer, Segmenter(self.tokenizer)
        values, lengths = field.values.cpu().numpy(), field.mask().sum(1).tolist()
        return [self._segmenter[1](row[:length]) for row, length in zip(values, lengths, strict=True)]


def _drawn(logs: np.ndarray, draw: float) -> int:
    """The place that ``draw`` (0 to 1) falls on, each as wide as its probability."""
    heights = np.exp(logs - logs.max()).cumsum()
    return int(np.searchsorted(heights, draw * heights[-1], side="right"))


def _poisson(count: np.ndarray, mean: float) -> np.ndarray:
    """Log-probabilities of counts."""
    factorials = np.vectorize(math.lgamma, otypes=[float])(count + 1)
    return np.asarray(count * math.log(mean) - mean - factorials)
