import inspect

import pytest

from miaobi import errors


def test_a_message_says_what_was_given_what_is_allowed_and_what_to_do():
    error = errors.RequestError("the rate is negative", given=-1, allowed="0 to 10", cure="choose a positive rate")
    assert str(error) == "the rate is negative; given: -1; allowed: 0 to 10; what to do: choose a positive rate"


def test_long_values_are_cut():
    assert len(str(errors.RequestError("too long", given="x" * 10_000))) < 300


def test_unknown_names_offer_the_nearest():
    error = errors.UnknownName("network", "trasformer", ["transformer", "lstm"])
    assert "did you mean transformer" in str(error)
    assert error.nearest == ["transformer"]


@pytest.mark.parametrize(
    ("kind", "status"), [(errors.RequestError, 2), (errors.DataError, 2), (errors.RunFailed, 1), (errors.Diverged, 1)]
)
def test_exit_status_tells_a_wrong_request_from_failed_work(kind, status):
    assert kind.exit_status == status


def test_the_drawn_tree_is_the_real_one():
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, errors.MiaobiError):
            assert name in errors.__doc__
