"""Templates: the tokens around the conditions, and nothing else, stand before the target."""

import pytest
import torch

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families._template import Template, Templated
from miaobi.types import Batch, Field, Form, Spec

TEXT = Spec(Form.TOKENS, vocabulary=50, max_length=6, begin=48, end=49)
TITLE = Spec(Form.TOKENS, vocabulary=50, max_length=4, shared=True)
KIND = Spec(Form.LABEL, vocabulary=2)
BOTH = Template(pieces=((40, 41), "kind", (42,), "title", (43, 44)), labels={"kind": ((30,), (31, 32))})


def batch(title_present=None):
    return Batch(
        Field(torch.tensor([[1, 2, 3], [4, 0, 0]]), lengths=torch.tensor([3, 1])),
        {
            "title": Field(torch.tensor([[7, 8], [9, 0]]), lengths=torch.tensor([2, 1]), present=title_present),
            "kind": Field(torch.tensor([0, 1])),
        },
    )


def layout(**changes):
    return Templated(TEXT, {"title": TITLE, "kind": KIND}, BOTH.model_copy(update=changes))


def test_the_words_stand_where_the_template_has_them_and_the_answer_alone_counts():
    tokens, weight = layout().sequence(batch())
    assert tokens.tolist() == [
        [40, 41, 30, 42, 7, 8, 43, 44, 1, 2, 3, 49],
        [40, 41, 31, 32, 42, 9, 43, 44, 4, 49, 0, 0],
    ]
    assert weight.tolist() == [[0] * 8 + [1] * 4, [0] * 8 + [1, 1, 0, 0]]


def test_a_condition_that_is_absent_leaves_its_place_empty():
    tokens, _ = layout().sequence(batch(torch.tensor([False, True])))
    assert tokens[0, :6].tolist() == [40, 41, 30, 42, 43, 44]
    alone, mask = layout().head({"kind": Field(torch.tensor([1]))}, 1, torch.device("cpu"))
    assert alone[mask].tolist() == [40, 41, 31, 32, 42, 43, 44]


def test_nothing_is_invented_beyond_the_tokenizers_vocabulary():
    made = layout()
    assert made.vocabulary == made.port.vocabulary == made.outputs.size == 50
    assert made.begin is None
    assert made.span == 2 + 2 + 1 + 4 + 2 + 6 + 1


def test_the_end_may_be_another_than_the_tokenizers():
    tokens, _ = layout(end=45).sequence(batch())
    assert tokens[0, -1] == 45
    assert layout(end=45).outputs.end == 45


def test_an_empty_template_is_the_target_alone():
    made = Templated(TEXT, {}, Template())
    tokens, weight = made.sequence(Batch(batch().target, {}))
    assert tokens.tolist() == [[1, 2, 3, 49], [4, 49, 0, 0]]
    assert weight.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_items_that_are_longer_than_the_model_was_made_for_are_refused():
    assert layout(context=18).port.max_length == 18
    with pytest.raises(Unsupported, match=r"18 tokens.*17"):
        layout(context=17)


def test_a_template_and_data_that_differ_are_refused():
    with pytest.raises(InvalidRecipe, match="kind is in the template alone"):
        Templated(TEXT, {"title": TITLE}, BOTH)
    with pytest.raises(InvalidRecipe, match="other is in the data alone"):
        Templated(TEXT, {"title": TITLE, "kind": KIND, "other": TITLE}, BOTH)


def test_conditions_that_it_has_no_tokens_for_are_refused():
    own = Spec(Form.TOKENS, vocabulary=50, max_length=4)
    with pytest.raises(Unsupported, match="tokenizer of its own"):
        Templated(TEXT, {"title": own, "kind": KIND}, BOTH)
    with pytest.raises(Unsupported, match="no tokens for the classes"):
        layout(labels={"kind": ((30,),)})
