"""A language model that is asked, not trained: with a prompt alone, or after a few examples.

Brown et al. 2020, "Language models are few-shot learners". Texts are written after the prompt; of a label, each class's
words are scored after it, as in Holtzman et al. 2021, "Surface form competition", by what the item adds to them where
``calibrate`` says so (Zhao et al. 2021, "Calibrate before use"). Training is one look at the items, some of which are
kept to be shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field as Value
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from miaobi.errors import Unsupported
from miaobi.families import autoregressive
from miaobi.families._base import Family, Ports, refuse_prefix
from miaobi.families._continuations import score
from miaobi.families._examples import Choice, Pool, choose, permuted
from miaobi.families._layout import Layout
from miaobi.families._template import Template
from miaobi.networks import Network
from miaobi.sampling.decoding import Request
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec

_READ = 16
"""Items that are read at once to compare them."""


class Prompted(autoregressive.Autoregressive):
    """`Autoregressive` after examples; a label is written in words, the likeliest of which is the answer."""

    class Config(autoregressive.Autoregressive.Config):
        """What is shown."""

        condition_drop: float = Value(0.0, ge=0, le=0, description="nothing is trained")
        shots: int = Value(0, ge=0, le=64, description="examples before each item; fewer where the context is short")
        select: Choice = Value("similar", description="random (the same for all), similar, or similar and diverse")
        pool: int = Value(128, ge=1, le=4096, description="training items that examples are chosen from")
        order: int = Value(0, ge=0, le=10**6, description="0: the nearest last; another number: a shuffle of its own")
        calibrate: bool = Value(False, description="count only what the item adds to each class")

    class Controls(autoregressive.Autoregressive.Controls):
        """How tokens are drawn or searched for; a label has no use for them."""

    targets = frozenset({Form.TOKENS, Form.LABEL})
    learns = False
    tiny: ClassVar[dict[str, Any]] = {"shots": 2, "pool": 8}

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        width = self.network.head.shape[1] if config.shots and config.select != "random" else 0
        self.pool = Pool(config.pool, {"target": target, **conditions}, width)
        self.order = config.order

    @classmethod
    def lay_out(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> Layout:
        if target.form is not Form.LABEL:
            return super().lay_out(config, target, conditions)
        written = _written(config.template, target, conditions)
        # Conditions with fitted vocabularies of their own share one where a public tokenizer cuts them all.
        alike = {name: _shared(spec, written) for name, spec in conditions.items()}
        return super().lay_out(config, written, alike)

    @classmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        layout = cls.lay_out(config, target, conditions)
        port = layout.port
        if config.template is None:
            port = replace(port, max_length=(1 + config.shots) * layout.span)
        return {"network": Ports(port, port, {})}

    @classmethod
    def metric(cls, form: Form) -> str:
        return "accuracy" if form is Form.LABEL else "likelihood"

    def phases(self) -> list[Phase]:
        return []

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        raise Unsupported("prompted has no loss", given=f"phase {phase!r}", cure="call observe: it only looks")

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Keep some of the items to be shown."""
        self.pool.take(batch, lambda kept: self._embed(kept.conditions, len(kept)))

    @property
    def shown_count(self) -> int:
        """See `Showing`."""
        return int(self.config.shots)

    @contextmanager
    def ordered(self, order: int) -> Iterator[None]:
        """Examples come in another order inside."""
        held, self.order = self.order, order
        try:
            yield
        finally:
            self.order = held

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """Exact, after each item's examples; of a label, among the classes."""
        if self.target.form is Form.LABEL:
            log_probs = self.predict(batch.conditions)
            nats = -log_probs.gather(1, batch.target.values[:, None])[:, 0]
            return Bound(nats, exact=True, predicted=torch.ones_like(batch.target.values))
        tokens, weight = self.layout.sequence(batch)
        ends = _last(weight)
        rows = self.shown(batch.conditions, len(batch))
        heads = [len(self._opening) if row else 0 for row in rows]
        joined = [
            torch.cat([tokens.new_tensor(row), line[head:end]])
            for row, head, line, end in zip(rows, heads, tokens, ends, strict=True)
        ]
        counts = [
            torch.cat([weight.new_zeros(len(row)), line[head:end]])
            for row, head, line, end in zip(rows, heads, weight, ends, strict=True)
        ]
        with autoregressive.evaluating(self.network):
            made = self._read(pad_sequence(joined, batch_first=True), pad_sequence(counts, batch_first=True))
            return self._scored(*made).bound()

    @torch.no_grad()
    def predict(self, conditions: dict[str, Field]) -> Tensor:
        """LABEL: log-probabilities ``[B, classes]`` float32 of the classes' words, each with its end."""
        if self.target.form is not Form.LABEL:
            raise Unsupported("there are no classes to choose from", given="a target of tokens", cure="sample it")
        rows = len(next(iter(conditions.values())))
        with autoregressive.evaluating(self.network):
            shown = self.shown(conditions, rows)
            scores = self._scores(self._prompts(conditions, shown))
            if self.config.calibrate:
                blank = {n: replace(f, present=torch.zeros_like(f.is_present())) for n, f in conditions.items()}
                scores = scores - self._scores(self._prompts(blank, shown))
        return scores.log_softmax(1)

    @torch.no_grad()
    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """Texts as `Autoregressive` draws them; of a label, the likeliest class."""
        if self.target.form is not Form.LABEL:
            return super().sample(conditions, prefix=prefix, lengths=lengths, controls=controls, seeds=seeds)
        refuse_prefix(prefix, "a classifier")
        log_probs = self.predict(conditions)
        best = log_probs.max(1)
        return Samples(best.indices, log_probs=best.values)

    def requests(
        self,
        conditions: Mapping[str, Field],
        prefix: Field | None,
        lengths: Tensor | None,
        controls: Any,
        seeds: Tensor,
    ) -> list[Request]:
        requests = super().requests(conditions, prefix, lengths, controls, seeds)
        shown = self.shown(conditions, len(seeds))
        return [self._after(row, request) for row, request in zip(shown, requests, strict=True)]

    def shown(self, conditions: Mapping[str, Field], rows: int) -> list[list[int]]:
        """The tokens of each item's examples, with what opens the prompt before them; empty where none are shown."""
        count = min(self.config.shots, len(self.pool))
        if not count:
            return [[] for _ in range(rows)]
        examples = self._examples()
        told = {name: field.to(self.device) for name, field in conditions.items()}
        queries = self._embed(told, rows) if self.config.select != "random" else None
        pool = self.pool.features[: len(examples)]
        room = self._room()
        made = []
        for row in range(rows):
            chosen = choose(self.config.select, None if queries is None else queries[row], pool, count)
            made.append(self._fitting([examples[index] for index in chosen.tolist()], room))
        return made

    @property
    def _opening(self) -> tuple[int, ...]:
        template = self.config.template
        return () if template is None else template.opening

    def _after(self, shown: list[int], request: Request) -> Request:
        """A request whose tokens stand behind examples."""
        if not shown:
            return request
        own = request.tokens[len(self._opening) :]
        tokens = (*shown, *own)
        free = None if request.free is None else (*shown, *request.free[len(self._opening) :])
        return replace(request, tokens=tokens, head=request.head + len(shown) - len(self._opening), free=free)

    def _examples(self) -> list[list[int]]:
        """Each pool item as it is shown: its prompt without what opens it, its answer, and what follows an answer."""
        batch = self.pool.rows(torch.arange(len(self.pool), device=self.device))
        tokens, weight = self.layout.sequence(self._told(batch))
        between = () if self.config.template is None else self.config.template.between
        start = len(self._opening)
        made = []
        for line, end in zip(tokens.tolist(), _last(weight), strict=True):
            body = line[start:end]
            cut = body[:-1] if self.config.template is not None and body and body[-1] == self.layout.end else body
            made.append([*cut, *between])
        return made

    def _told(self, batch: Batch) -> Batch:
        """A batch whose labels are written in words."""
        if self.target.form is not Form.LABEL:
            return batch
        rows = [torch.tensor(self._answers()[label]) for label in batch.target.values.tolist()]
        values = pad_sequence(rows, batch_first=True).to(self.device)
        return replace(batch, target=Field(values, lengths=torch.tensor([len(r) for r in rows], device=self.device)))

    def _answers(self) -> list[tuple[int, ...]]:
        template = self.config.template
        if template is not None and template.answers:
            return list(template.answers)
        first = self.layout.target.vocabulary - self.target.vocabulary
        return [(first + index,) for index in range(self.target.vocabulary)]

    def _room(self) -> int | None:
        """Tokens that examples may take."""
        limit = self.network.limit
        return None if limit is None else limit - self.layout.span

    def _fitting(self, examples: list[list[int]], room: int | None) -> list[int]:
        """As many of the last examples as there is room for, in the order asked for, behind what opens a prompt."""
        sizes = torch.tensor([len(example) for example in reversed(examples)]).cumsum(0)
        count = len(examples) if room is None else int((sizes <= room).sum())
        kept = examples[len(examples) - count :]
        shown = [token for index in permuted(count, self.order) for token in kept[index]]
        return [*self._opening, *shown] if kept else []

    def _embed(self, conditions: Mapping[str, Field], rows: int) -> Tensor:
        """``[rows, D]`` of length 1: the mean of the network's states over what an item is asked with."""
        tokens, real = self.layout.head(conditions, rows, self.device)
        weight = real[..., None].float()
        weight[:, : len(self._opening)] = 0
        with autoregressive.evaluating(self.network):
            hidden = torch.cat([self.network(part, logits=False).float() for part in tokens.split(_READ)])
        return torch.nn.functional.normalize((hidden * weight).sum(1), dim=1)

    def _prompts(self, conditions: Mapping[str, Field], shown: Sequence[list[int]]) -> list[tuple[int, ...]]:
        """What each item is asked with, after its examples."""
        told = {name: field.to(self.device) for name, field in conditions.items()}
        tokens, real = self.layout.head(told, len(shown), self.device)
        heads = [line[:size] for line, size in zip(tokens.tolist(), real.sum(1).tolist(), strict=True)]
        return [(*row, *(head[len(self._opening) :] if row else head)) for row, head in zip(shown, heads, strict=True)]

    def _scores(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """``[B, classes]``: log-probabilities of each class's words, and of their end, after each prompt."""
        end = () if self.layout.end is None else (self.layout.end,)
        return score(self.network, prompts, [(*answer, *end) for answer in self._answers()], self.precision)


def _written(template: Template | None, target: Spec, conditions: Mapping[str, Spec]) -> Spec:
    """A label as the tokens that say it: the template's words, or a token of its own behind the vocabulary."""
    texts = [spec for spec in conditions.values() if spec.form is Form.TOKENS]
    if not texts:
        raise Unsupported("prompted reads a text", given=sorted(conditions), cure="name one in data.condition")
    if template is not None and template.answers:
        longest = max(map(len, template.answers))
        return replace(texts[0], max_length=longest, shared=False, stream=False)
    size = max(spec.vocabulary for spec in texts) + target.vocabulary
    return Spec(Form.TOKENS, vocabulary=size, max_length=1, fixed=True)


def _shared(spec: Spec, written: Spec) -> Spec:
    same = spec.form is Form.TOKENS and spec.vocabulary == written.vocabulary
    return replace(spec, shared=True) if same else spec


def _last(weight: Tensor) -> list[int]:
    """One past the last position that counts, of each row."""
    places = torch.arange(1, weight.shape[1] + 1, device=weight.device)
    return (places * (weight > 0)).amax(1).tolist()  # type: ignore[no-any-return]
