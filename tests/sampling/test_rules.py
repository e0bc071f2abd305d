"""Music drawn under the control rules: they hold, what is given comes back, a batch is its items alone."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from miaobi.errors import InvalidRecipe, RequestError, Unsupported
from miaobi.evaluation.metrics._part_writing import RULES, counted
from miaobi.families._token_requests import TokenEngine
from miaobi.modalities import create, views
from miaobi.modalities._grid import FIRST_PITCH, HEADER, HOLD
from miaobi.models import Model, build
from miaobi.recipe import Recipe
from miaobi.sampling.given import Given
from miaobi.sampling.requests import Output
from miaobi.sampling.rules import Both
from miaobi.types import Batch, Field
from tests.modalities.test_part_writing import music
from tests.sampling.token_worlds import writer

VOICES = 4
MELODY = [[FIRST_PITCH + p, HOLD, HOLD, HOLD] for p in (72, 74, 76, 77, 76, 74, 71, 72, 67, 69, 71, 72)]


@functools.cache
def model(family: str = "seq2seq") -> Model:
    modality, view = music(), family == "seq2seq"
    network = {"name": "interleaved_recurrent" if view else "lstm"}
    section = {"family": family, "size": "tiny", "network": network}
    recipe = Recipe.load({"modality": "music", "data": {"source": "none"}, "model": section})
    torch.manual_seed(0)
    conditions = {"soprano": views.create("voice").spec(modality.spec)} if view else {}
    built = Model(build(recipe, modality.spec, conditions).eval(), modality)
    with torch.no_grad():
        for parameter in built.family.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return built


def soprano(rows: int, transposed: tuple[int, ...] = (0,)) -> Field:
    """A melody a row, as the view gives it."""
    lines = []
    for row in range(rows):
        tokens = [token + transposed[row % len(transposed)] * (token != HOLD) for beat in MELODY for token in beat]
        line = np.zeros((HEADER + len(tokens), VOICES), dtype=np.int64)
        line[:HEADER, 0] = HOLD + 1
        line[HEADER:, 0] = np.array(tokens) + 1
        lines.append(line.ravel())
    values = torch.from_numpy(np.stack(lines))
    return Field(values, lengths=torch.full((rows,), values.shape[1]))


def drawn(field: Field, seeds: list[int], **controls: Any) -> torch.Tensor:
    family: Any = model().family
    controls = family.Controls(**controls)
    return family.sample({"soprano": field}, controls=controls, seeds=torch.tensor(seeds)).values


def breaches(values: torch.Tensor) -> dict[str, int]:
    total = sum(counted(music().decode(row.numpy())) for row in values)
    return dict(zip(RULES, np.asarray(total).astype(int).tolist(), strict=False))


def test_a_melody_is_harmonised_without_a_breach_and_comes_back() -> None:
    field = soprano(6)
    free, ruled = drawn(field, list(range(6))), drawn(field, list(range(6)), rules=True)
    assert min(count for rule, count in breaches(free).items() if not rule.startswith("parallel")) > 100
    assert breaches(ruled) == dict.fromkeys(RULES, 0)
    for values in (free, ruled):
        assert torch.equal(values[:, ::VOICES], field.values[:, ::VOICES] - 1)


def test_a_batch_is_its_items_alone() -> None:
    field, seeds = soprano(3, (0, 2, -3)), [5, 6, 7]
    together = drawn(field, seeds, rules=True, temperature=0.8)
    for row, seed in enumerate(seeds):
        one = Field(field.values[row : row + 1], lengths=torch.tensor([field.values.shape[1]]))
        alone = drawn(one, [seed], rules=True, temperature=0.8)
        assert torch.equal(alone[0], together[row])
    assert breaches(drawn(field, seeds, rules=True, best_of=3)) == dict.fromkeys(RULES, 0)


def test_a_prompt_is_remembered() -> None:
    family: Any = model("autoregressive").family
    # Only the soprano has sung: on the next beat it may not leap more than an octave from there.
    start = [HOLD] * HEADER * VOICES + [FIRST_PITCH + 79, HOLD, HOLD, HOLD] + [HOLD] * 3 * VOICES
    prefix = Field(torch.tensor([start]).expand(40, -1), lengths=torch.full((40,), len(start)))
    controls = family.Controls(rules=True, max_length=len(start) + 1)
    made = family.sample({}, prefix=prefix, controls=controls, seeds=torch.arange(40))
    pitches = {
        int(row[-1]) - FIRST_PITCH for row, length in zip(made.values, made.lengths, strict=True) if length > len(start)
    }
    assert min(pitch for pitch in pitches if pitch >= 0) >= 67
    assert len(pitches) > 5


def test_what_has_no_rules_refuses_them() -> None:
    family: Any = writer().family
    with pytest.raises(Unsupported, match="leave rules out"):
        family.sample({}, controls=family.Controls(rules=True), seeds=torch.arange(1))
    with pytest.raises(Unsupported, match="leave rules out"):
        list(family.stream({}, controls=family.Controls(rules=True), seed=1))
    engine = model("autoregressive").family.engine(1)
    bare = TokenEngine(engine.layout, engine.inner)
    with pytest.raises(Unsupported, match="tokenizer grid"):
        bare.add({}, controls=family.Controls(rules=True), seed=1)
    assert create("text").rules is None


def test_a_gap_refuses_them() -> None:
    family: Any = model("infilling").family
    batch = Batch(Field(torch.zeros(1, 24, dtype=torch.int64), lengths=torch.tensor([24])))
    with pytest.raises(RequestError, match="a gap has a suffix"):
        family.edit(batch, torch.arange(24)[None] == 9, controls=family.Controls(rules=True), seeds=torch.arange(1))


def test_a_search_refuses_them() -> None:
    with pytest.raises(InvalidRecipe, match="leave rules out"):
        model().family.Controls.parse({"rules": True, "beams": 4})


class Refusing:
    """Allows some tokens, and takes every one."""

    finished = False

    def __init__(self, *tokens: int) -> None:
        self.mask, self.taken = np.isin(np.arange(6), tokens), []

    def allowed(self) -> np.ndarray:
        return self.mask

    def admit(self, token: int) -> bool:
        self.taken.append(token)
        return True

    def known(self) -> int:
        return 0


def test_of_two_constraints_the_first_goes_before_the_second() -> None:
    second = Refusing(2, 3)
    both = Both(Given([None, 4], Output(6, end=5)).begin(10), second)
    assert np.flatnonzero(both.allowed()).tolist() == [2, 3]
    assert both.known() == 2
    assert not both.admit(1)
    assert second.taken == []
    assert both.admit(3)
    assert np.flatnonzero(both.allowed()).tolist() == [4]
    assert both.admit(4)
    assert both.admit(5)
    assert second.taken == [3, 4, 5]
    assert not both.finished
    assert Both(Given([], Output(6)).begin(10), second).finished
