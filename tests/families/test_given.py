"""A condition that is the target in part: the item keeps it to the token, and contradictions are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from miaobi import networks
from miaobi.errors import RequestError
from miaobi.families.autoregressive import Autoregressive
from miaobi.families.seq2seq import Seq2Seq
from miaobi.modalities import views
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=12, max_length=40, streams=4, hold=0)
VIEW = views.create("voice")
CONDITIONS = {"soprano": VIEW.spec(TARGET)}
CASES = [
    (Seq2Seq, "interleaved_recurrent"),
    (Seq2Seq, "encoder_decoder"),
    (Seq2Seq, "attentive_recurrent"),
    (Autoregressive, "lstm"),
]
each = pytest.mark.parametrize(("kind", "name"), CASES)


def family(kind: type[Autoregressive], name: str) -> Any:
    torch.manual_seed(0)
    port = kind.ports(kind.Config(), TARGET, CONDITIONS)["network"]
    found = networks.find(name)
    preset = found.preset("tiny", port.source, port.target, port.conditions)
    built = kind(
        kind.Config(), {"network": found(preset, port.source, port.target, port.conditions)}, {}, TARGET, CONDITIONS
    )
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built.eval()


def told() -> tuple[Field, dict[str, Field]]:
    target = Field(
        torch.randint(12, (3, 32), generator=torch.Generator().manual_seed(3)), lengths=torch.tensor([32, 8, 20])
    )
    return target, {"soprano": Field(VIEW.given(target.values), lengths=target.lengths)}


@each
@pytest.mark.parametrize("controls", [{}, {"temperature": 0.0}, {"best_of": 3}, {"guidance": 2.0}])
def test_the_soprano_comes_back_and_the_item_is_as_long(kind: Any, name: str, controls: dict[str, Any]) -> None:
    built, (target, conditions) = family(kind, name), told()
    made = built.sample(conditions, controls=built.Controls(**controls), seeds=torch.arange(3))
    assert made.lengths.tolist() == target.lengths.tolist()
    for row, length in enumerate(target.lengths.tolist()):
        assert torch.equal(made.values[row, :length:4], target.values[row, :length:4])
        assert not torch.equal(made.values[row, :length], target.values[row, :length])


def test_an_absent_condition_gives_nothing() -> None:
    built, (_, conditions) = family(*CASES[0]), told()
    absent = {"soprano": replace(conditions["soprano"], present=torch.tensor([True, False, True]))}
    made = built.sample(absent, controls=built.Controls(max_length=36), seeds=torch.arange(3))
    free = built.sample({}, controls=built.Controls(max_length=36), seeds=torch.arange(1, 2))
    assert torch.equal(made.values[1, : made.lengths[1]], free.values[0, : free.lengths[0]])
    assert made.lengths[[0, 2]].tolist() == [32, 20]


def test_a_prefix_of_the_same_piece_goes_on_and_another_is_refused() -> None:
    built, (target, conditions) = family(*CASES[0]), told()
    own = Field(target.values[:, :6])
    made = built.sample(conditions, prefix=own, seeds=torch.arange(3))
    assert torch.equal(made.values[:, :6], own.values)
    assert torch.equal(made.values[0, ::4], target.values[0, ::4])
    with pytest.raises(RequestError, match="prefix is another"):
        built.sample(conditions, prefix=Field((own.values + 1) % 12), seeds=torch.arange(3))


@pytest.mark.parametrize("controls", [{"beams": 2}, {"min_length": 38}])
def test_controls_that_contradict_it_are_refused(controls: dict[str, Any]) -> None:
    built, (_, conditions) = family(*CASES[0]), told()
    with pytest.raises(RequestError, match="soprano"):
        built.sample(conditions, controls=built.Controls(**controls), seeds=torch.arange(3))


def test_a_likelihood_knows_what_is_given() -> None:
    """What is given is part of the item: another soprano beside the same item changes its likelihood."""
    built, (target, conditions) = family(*CASES[0]), told()
    other = {"soprano": Field((conditions["soprano"].values > 0) * 5, lengths=target.lengths)}
    nats = [built.log_likelihood(Batch(target, one), seeds=torch.arange(3)).nats for one in (conditions, other)]
    assert (nats[0] - nats[1]).abs().min() > 1e-3
