import torch

from miaobi import models
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=3, max_length=12, unknown=0)


def family():
    model = {"family": "autoregressive", "size": "tiny"}
    recipe = Recipe.load({"modality": "text", "data": {"source": "-"}, "model": model})
    return models.build(recipe, TARGET, {}).eval()


def test_the_unknown_token_has_probability_and_is_never_drawn():
    built = family()
    items = Batch(Field(torch.tensor([[0, 1, 0]])))
    assert torch.isfinite(built.log_likelihood(items, seeds=seeds_of(0, [0])).nats).all()
    made = built.sample({}, seeds=seeds_of(0, range(50)))
    drawn = made.values[made.field().mask()]
    assert len(drawn) > 50
    assert not (drawn == 0).any()


def test_a_prompt_may_hold_it():
    prefix = Field(torch.tensor([[0, 1]]), lengths=torch.tensor([2]))
    made = family().sample({}, prefix=prefix, seeds=seeds_of(0, [0]))
    assert made.values[0, :2].tolist() == [0, 1]
