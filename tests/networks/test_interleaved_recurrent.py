"""Columns of streams: cached equals parallel, a hold is what it holds, and what stands beside is aligned."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.networks._columns import by_columns, sinusoids, sounding
from miaobi.networks.interleaved_recurrent import InterleavedRecurrent
from miaobi.types import Field, Form, Spec

PORT = Spec(Form.TOKENS, vocabulary=14, max_length=64, streams=4, hold=0)
CONDITIONS = {
    "mood": Spec(Form.LABEL, vocabulary=3),
    "soprano": Spec(Form.TOKENS, vocabulary=15, max_length=64, streams=4, hold=1, partial=True),
}


def network(port: Spec = PORT, **options: Any) -> InterleavedRecurrent:
    torch.manual_seed(0)
    config = InterleavedRecurrent.Config(**{"width": 8, "hidden": 12, "depth": 2, **options})
    built = InterleavedRecurrent(config, port, port, CONDITIONS).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


def tokens(rows: int = 4, length: int = 33) -> torch.Tensor:
    drawn = torch.randint(14, (rows, length), generator=torch.Generator().manual_seed(1))
    return drawn * (torch.rand(rows, length, generator=torch.Generator().manual_seed(2)) < 0.5)


def told(rows: int = 4) -> dict[str, Field]:
    values = torch.randint(15, (rows, 24), generator=torch.Generator().manual_seed(3))
    present = torch.tensor([True, True, False, True])[:rows]
    return {
        "mood": Field(torch.arange(rows) % 3),
        "soprano": Field(values, lengths=torch.tensor([24, 8, 16, 20])[:rows], present=present),
    }


@pytest.mark.parametrize("options", [{}, {"depth": 1}, {"encoder_depth": 2}])
def test_prompts_and_steps_at_any_place_in_a_column_equal_the_parallel_pass(options: dict[str, Any]) -> None:
    built, x, rows, lengths = network(**options), tokens(), torch.arange(4), torch.tensor([4, 11, 6, 1])
    with torch.no_grad():
        full, cache = built(x, told()), built.new_cache(4, 40)
        cache.tell(built.sources(told(), 4))
        got = [(built.prefill(x[:, :11], lengths, cache), lengths)]
        got += [(built.step(x[rows, lengths + fed], cache), lengths + fed + 1) for fed in range(9)]
    for logits, length in got:
        torch.testing.assert_close(logits, full[rows, length - 1], rtol=1e-4, atol=1e-4)


def test_a_held_note_is_seen_as_itself() -> None:
    """Stream 2 holds from its first note on: what it began with matters to the last column, directly."""
    notes = torch.randn(1, 3, 2, 5)
    hold = torch.tensor([[[False, False], [True, False], [True, True]]])
    seen = sounding(notes, hold)
    assert torch.equal(seen[0, 2, 0], notes[0, 0, 0])
    assert torch.equal(seen[0, 2, 1], notes[0, 1, 1])
    assert (sounding(notes, torch.ones_like(hold)) == 0).all()


def test_a_repeated_note_differs_from_a_held_one() -> None:
    built, x = network(), torch.tensor([[13, 5, 6, 7, 8, 5, 6, 7, 8, 1]])
    held = x.clone()
    held[0, 5:9] = 0
    with torch.no_grad():
        assert (built(x, told(1))[:, 9] - built(held, told(1))[:, 9]).abs().max() > 1e-3


def test_column_t_knows_the_future_of_what_is_read_and_not_its_own() -> None:
    built, x, conditions = network(), tokens(), told()
    later = conditions["soprano"].values.clone()
    later[:, 20:] = (later[:, 20:] + 1) % 15
    changed = {**conditions, "soprano": Field(later, conditions["soprano"].lengths)}
    with torch.no_grad():
        plain = {**conditions, "soprano": Field(conditions["soprano"].values, conditions["soprano"].lengths)}
        assert (built(x, plain)[0, 0] - built(x, changed)[0, 0]).abs().max() > 1e-6


def test_folding_and_positions() -> None:
    x = torch.arange(10.0).view(1, 10, 1)
    assert by_columns(x, 4)[0, :, :, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]
    waves = sinusoids(torch.arange(193), 24)
    torch.testing.assert_close(waves[0], waves[192], atol=1e-4, rtol=0)
    assert (waves[0] - waves[96]).abs().max() > 0.5
    assert sinusoids(torch.arange(3), 40)[:, 24:].abs().max() == 0


def test_two_conditions_cannot_both_stand_beside() -> None:
    two = {**CONDITIONS, "words": Spec(Form.TOKENS, vocabulary=9, max_length=8)}
    with pytest.raises(Unsupported, match="one condition beside"):
        InterleavedRecurrent(InterleavedRecurrent.Config(width=8, hidden=12), PORT, PORT, two)
