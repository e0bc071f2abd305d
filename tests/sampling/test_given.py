"""What is given comes back as it is, whatever the network would have drawn."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.errors import RequestError
from miaobi.sampling.decoding import Engine, Output, Request, decode
from miaobi.sampling.given import Given
from miaobi.sampling.token_controls import TokenControls
from tests.sampling.token_worlds import END, SIZE, network

OUTPUT = Output(SIZE, end=END, banned=SIZE - 2)
tokens = st.lists(st.one_of(st.none(), st.integers(0, SIZE - 3)), max_size=12)


def drawn(
    known: list[int | None], limit: int = 40, seed: int = 0, output: Output = OUTPUT, **controls: object
) -> list[int]:
    request = Request((0,), 1, seed, limit, TokenControls.parse(controls), constraint=Given(known, output))
    return decode(Engine(network("lstm"), output), [request])[0][0]


@settings(max_examples=40, deadline=None)
@given(tokens, st.integers(0, 2**40))
def test_known_tokens_and_the_length_hold(known: list[int | None], seed: int) -> None:
    made = drawn(known, seed=seed)
    assert made[-1] == OUTPUT.end
    assert len(made) == len(known) + 1
    assert all(want in (None, got) for want, got in zip(known, made[:-1], strict=True))
    assert not {OUTPUT.end, OUTPUT.banned} & set(made[:-1])


@pytest.mark.filterwarnings("ignore:no token was left to draw")
def test_controls_that_forbid_a_known_token_do_not_move_it() -> None:
    known = [3, 3, None, 3, 3, None, 3, 3]
    for controls in ({"no_repeat_ngram": 1}, {"logit_bias": {3: -100.0}}, {"temperature": 0}):
        made = drawn(known, **controls)
        assert [token for token, want in zip(made, known, strict=False) if want] == [3] * 6


def test_what_is_given_beyond_the_limit_is_left_out() -> None:
    assert drawn([1, 2, 3, 4], limit=3) == [1, 2, 3]


def test_without_an_end_token_the_item_ends_with_what_is_given() -> None:
    assert drawn([1, None, 2], output=Output(SIZE))[0::2] == [1, 2]


def test_rows_keep_to_their_own() -> None:
    requests = [
        Request((0,), 1, seed, 30, constraint=constraint)
        for seed, constraint in enumerate([Given([1] * 5, OUTPUT), None, Given([2, None, 2], OUTPUT)])
    ]
    made = [tokens for tokens, _ in decode(Engine(network("lstm"), OUTPUT), requests)]
    assert made[0] == [1] * 5 + [OUTPUT.end]
    assert made[2][0::2] == [2, 2]
    assert made[2][3] == OUTPUT.end
    assert torch.equal(
        torch.tensor(made[1]), torch.tensor(decode(Engine(network("lstm"), OUTPUT), requests[1:2])[0][0])
    )


@pytest.mark.parametrize("wrong", [SIZE, -1, SIZE - 1, SIZE - 2])
def test_a_token_that_cannot_be_written_is_refused(wrong: int) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        Given([1, wrong], OUTPUT)
