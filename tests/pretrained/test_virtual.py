"""Virtual tokens: what they start as, and that they alone carry what is learnt."""

import pytest
import torch

from miaobi.pretrained._foreign import Foreign
from miaobi.pretrained._virtual import PrefixStates, PromptEmbeddings
from tests.support import public


def tokens(rows=2, length=5):
    return torch.randint(4, 300, (rows, length), generator=torch.Generator().manual_seed(1))


def test_a_prompt_starts_as_tokens_spread_over_the_vocabulary():
    model = public.model("gpt2")
    virtual = PromptEmbeddings(model, 4)
    table = model.get_input_embeddings().weight
    assert virtual.tokens.shape == (4, 32)
    torch.testing.assert_close(virtual.tokens, table[[0, 133, 266, 399]])
    assert virtual.tokens.data_ptr() != table.data_ptr()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("how", [PromptEmbeddings, PrefixStates])
def test_as_they_start_they_say_what_their_tokens_would(kind, how):
    model = public.model(kind)
    made, chosen = Foreign(model, how(model, 3)), torch.linspace(0, 399, 3).long()
    with torch.no_grad():
        expected = model(torch.cat([chosen.expand(2, -1), tokens()], 1)).logits[:, 3:]
        torch.testing.assert_close(made.logits(made.hidden(tokens())), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("how", [PromptEmbeddings, PrefixStates])
def test_every_virtual_token_of_every_layer_learns(how):
    model = public.model("gpt2").requires_grad_(False)
    virtual = how(model, 3)
    made = Foreign(model, virtual)
    made.logits(made.hidden(tokens())).square().sum().backward()
    gradient = virtual.tokens.grad
    assert (gradient.abs().flatten(0, -2).sum(-1) > 0).all()
    assert [name for name, parameter in made.named_parameters() if parameter.grad is not None] == ["virtual.tokens"]


def test_a_cache_that_begins_again_has_the_virtual_tokens_as_they_are_now():
    model = public.model("gpt2").requires_grad_(False)
    virtual = PrefixStates(model, 3)
    made = Foreign(model, virtual)
    first = made.new_cache(2)
    with torch.no_grad():
        virtual.tokens.add_(1.0)
    lengths = torch.full((2,), 5)
    before, after = (made.prefill(tokens(), lengths, cache) for cache in (first.empty(2, 8), made.new_cache(2)))
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, made.logits(made.hidden(tokens()))[:, -1], rtol=1e-4, atol=1e-4)
