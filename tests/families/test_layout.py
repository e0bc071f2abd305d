import pytest
import torch

from miaobi.errors import UnknownName, Unsupported
from miaobi.families._layout import Layout
from miaobi.types import Batch, Field, Form, Spec

TEXT = Spec(Form.TOKENS, vocabulary=10, max_length=6)
CONDITIONS = {
    "kind": Spec(Form.LABEL, vocabulary=3),
    "title": Spec(Form.TOKENS, vocabulary=10, max_length=4, shared=True),
    "other": Spec(Form.TOKENS, vocabulary=5, max_length=2),
}


def batch(**conditions):
    target = Field(torch.tensor([[1, 2, 3], [4, 0, 0]]), lengths=torch.tensor([3, 1]))
    return Batch(target, conditions)


def test_the_vocabulary_is_the_targets_then_the_specials():
    layout = Layout(TEXT, CONDITIONS)
    assert (layout.end, layout.begin) == (10, 11)
    assert layout.outputs.size == 11
    assert list(layout.slots) == sorted(CONDITIONS)
    assert layout.slots["title"].offset == 0
    assert layout.vocabulary == 12 + 3 * 2 + 3 + 5
    assert layout.span == (1 + 1) + (1 + 4) + (1 + 2) + 1 + 6 + 1


def test_a_tokenizers_own_begin_and_end_are_used_and_begin_is_never_drawn():
    layout = Layout(Spec(Form.TOKENS, vocabulary=10, max_length=6, begin=8, end=9), {})
    assert (layout.begin, layout.end, layout.vocabulary) == (8, 9, 10)
    assert layout.outputs.banned == 8


def test_sequences_are_conditions_begin_target_end():
    layout = Layout(TEXT, CONDITIONS)
    kind, other, title = (layout.slots[name] for name in ("kind", "other", "title"))
    tokens, weight = layout.sequence(
        batch(
            kind=Field(torch.tensor([2, 0]), present=torch.tensor([True, False])),
            title=Field(torch.tensor([[7, 8], [9, 0]]), lengths=torch.tensor([2, 1])),
        )
    )
    first = [kind.opening, kind.offset + 2, other.opening, other.null, title.opening, 7, 8, 11, 1, 2, 3, 10]
    second = [kind.opening, kind.null, other.opening, other.null, title.opening, 9, 11, 4, 10, 0, 0, 0]
    assert tokens.tolist() == [first, second]
    assert weight.tolist() == [[0] * 8 + [1] * 4, [0] * 7 + [1, 1] + [0] * 3]


def test_a_streams_first_token_is_context_only():
    layout = Layout(Spec(Form.TOKENS, vocabulary=10, max_length=4, stream=True, begin=0), {})
    tokens, weight = layout.sequence(Batch(Field(torch.tensor([[5, 6, 7, 8]]))))
    assert tokens.tolist() == [[5, 6, 7, 8]]
    assert weight.tolist() == [[0, 1, 1, 1]]
    assert (layout.begin, layout.end, layout.vocabulary) == (None, None, 10)


def test_a_streams_conditions_stand_before_its_window():
    layout = Layout(Spec(Form.TOKENS, vocabulary=10, max_length=4, stream=True), {"kind": CONDITIONS["kind"]})
    tokens, weight = layout.sequence(Batch(Field(torch.tensor([[5, 6, 7]])), {"kind": Field(torch.tensor([1]))}))
    slot = layout.slots["kind"]
    assert tokens.tolist() == [[slot.opening, slot.offset + 1, layout.begin, 5, 6, 7]]
    assert weight.tolist() == [[0, 0, 0, 0, 1, 1]]


def test_weights_of_the_target_are_kept():
    field = Field(torch.tensor([[1, 2, 3]]), weight=torch.tensor([[0.0, 0.5, 1.0]]))
    _, weight = Layout(TEXT, {}).sequence(Batch(field))
    assert weight.tolist() == [[0, 0, 0.5, 1, 1]]


def test_tensors_and_strangers_are_refused():
    with pytest.raises(Unsupported, match="token families"):
        Layout(Spec(Form.TENSOR, 3, (8, 8)), {})
    with pytest.raises(Unsupported, match="labels and tokens"):
        Layout(TEXT, {"picture": Spec(Form.TENSOR, 3, (8, 8))})
    with pytest.raises(UnknownName, match="title"):
        Layout(TEXT, {"title": CONDITIONS["title"]}).sequence(batch(titel=Field(torch.tensor([1, 2]))))
