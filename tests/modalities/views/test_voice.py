"""The view voice: one stream of four, and nothing of the others."""

from __future__ import annotations

import pytest
import torch

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.modalities import views
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form, Spec

FOUR = Spec(Form.TOKENS, vocabulary=50, max_length=400, streams=4, hold=0)
TOKENS = torch.arange(1, 25).reshape(2, 12)


@pytest.mark.parametrize(("part", "stream"), [("soprano", 0), ("alto", 1), ("tenor", 2), ("bass", 3)])
def test_only_the_chosen_voice_is_seen(part: str, stream: int) -> None:
    seen = views.create({"name": "voice", "part": part})(TOKENS, seeds_of(0, range(2)))
    assert torch.equal(seen[:, stream::4], TOKENS[:, stream::4] + 1)
    others = torch.arange(12) % 4 != stream
    assert (seen[:, others] == 0).all()


def test_what_others_sing_changes_nothing() -> None:
    view, other = views.create("voice"), TOKENS.clone()
    other[:, 1::4] += 7
    assert torch.equal(view.given(TOKENS), view.given(other))


def test_it_says_that_it_is_the_target_in_part() -> None:
    spec = views.create("voice").spec(FOUR)
    assert spec == Spec(Form.TOKENS, vocabulary=51, max_length=400, streams=4, hold=1, partial=True)
    assert Spec.from_json(spec.to_json()) == spec


def test_targets_without_four_voices_are_refused_with_a_cure() -> None:
    with pytest.raises(Unsupported, match="tokenizer grid"):
        views.create("voice").spec(Spec(Form.TOKENS, vocabulary=50, max_length=400))
    with pytest.raises(Unsupported, match="of form tokens"):
        views.create("voice").spec(Spec(Form.TENSOR, channels=1, space=(8, 8)))
    with pytest.raises(InvalidRecipe, match="part"):
        views.create({"name": "voice", "part": "baritone"})
