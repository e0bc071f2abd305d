import pytest
import torch

from miaobi import training
from miaobi.errors import Diverged
from miaobi.training.guards import PATIENCE, ROLLBACKS, Guards, diversity
from miaobi.types import Field, Form
from tests.support.worlds import recipe


def test_the_rate_is_halved_three_times_and_then_the_run_gives_up():
    guards = Guards()
    for turn in range(ROLLBACKS):
        guards.roll_back(10, "train")
        assert guards.rate == 0.5 ** (turn + 1)
    with pytest.raises(Diverged, match=r"phase train .* before step 10.*learning_rate"):
        guards.roll_back(10, "train")


def test_low_diversity_counts_only_after_it_was_high_or_late():
    guards = Guards()
    assert not guards.see_diversity(0.01, late=False)
    assert not guards.see_diversity(0.5, late=False)
    assert guards.see_diversity(0.01, late=False)
    assert Guards().see_diversity(0.01, late=True)


def test_a_collapse_that_lasts_ends_the_run_and_one_that_passes_does_not():
    guards = Guards(was_diverse=True)
    for _ in range(PATIENCE - 1):
        guards.see_diversity(0.0, late=True)
    guards.see_diversity(1.0, late=True)
    assert not guards.gave_up
    for _ in range(PATIENCE):
        guards.see_diversity(0.0, late=True)
    assert guards.gave_up


def test_a_vanished_gradient_is_told_once():
    guards = Guards()
    seen = [guards.see_gradient("g", norm) for norm in (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)]
    assert seen == [False, False, False, True, False, False, False, False, True]


def test_a_collapsed_posterior_is_told_once_and_only_late():
    guards = Guards()
    seen = [guards.see_units("vae", units, late=late) for units, late in ((0.0, False),) * 5 + ((2.0, True),)]
    seen += [guards.see_units("vae", 0.0, late=True) for _ in range(5)]
    assert seen == [False] * 8 + [True, False, False]


def test_guards_come_back_from_json():
    guards = Guards(rollbacks=2, rate=0.25, was_diverse=True, collapsed=1, faint={"a": 2}, idle={"b": 1})
    assert Guards.from_json(guards.to_json()) == guards


def test_the_diversity_of_tensors_is_their_root_mean_squared_difference():
    values = torch.zeros(3, 1, 2, 2)
    values[2] = 2.0
    assert diversity(Field(values)) == pytest.approx((0 + 2 + 2) / 3)


def test_the_diversity_of_tokens_is_the_share_of_positions_that_differ():
    values = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 0, 0]])
    lengths = torch.tensor([4, 4, 2])
    assert diversity(Field(values, lengths=lengths)) == pytest.approx((0.25 + 0.5 + 0.5) / 3)


def test_a_run_says_that_its_posterior_has_collapsed(tmp_path):
    """A divergence that costs a thousand times what it should leaves the latent nothing to say."""
    settings = recipe("vae", Form.TENSOR, tmp_path, steps=64, evaluate_every=64)
    settings["model"]["options"]["beta"] = 1000.0
    training.train(settings, run=tmp_path / "run", progress=False)
    said = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert said.count("the posterior has collapsed") == 1
