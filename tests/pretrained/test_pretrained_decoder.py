"""Public causal models: what transformers computes, decoded by the one engine, and trained through adapters alone."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from miaobi.errors import CorruptFile, Unsupported
from miaobi.networks.transformer import Transformer
from miaobi.pretrained._adapters import merged
from miaobi.pretrained._foreign import Foreign
from miaobi.pretrained.pretrained_decoder import PretrainedDecoder
from miaobi.types import Form, Spec
from tests.support import public

KINDS = ("llama", "qwen3", "gpt2", "gemma2")
ADAPTERS = {
    "none": None,
    "lora": {"name": "lora", "rank": 2},
    "prompt": {"name": "prompt", "tokens": 3},
    "prefix": {"name": "prefix", "tokens": 3},
}
CASES = [pytest.param(kind, name, id=f"{kind}: {name}") for kind in KINDS for name in ADAPTERS]
FEW = [pytest.param(kind, name, id=f"{kind}: {name}") for kind in ("llama", "gpt2") for name in ADAPTERS]
LENGTHS = torch.tensor([3, 1, 5, 2])


@functools.cache
def place(kind):
    import tempfile
    from pathlib import Path

    return public.folder(kind, Path(tempfile.mkdtemp(prefix="public-")))


def network(kind, adapter="none", folder=None, **changes):
    size = public.tokenizer(kind).get_vocab_size()
    port = Spec(Form.TOKENS, vocabulary=size, max_length=public.LONGEST)
    config = PretrainedDecoder.Config(base=str(folder or place(kind)), adapter=ADAPTERS[adapter], **changes)
    made = PretrainedDecoder(config, port, port, {}).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            # A second map that is still zero would hide all that could be wrong with it.
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return made


def tokens(rows=4, length=9):
    return torch.randint(4, 300, (rows, length), generator=torch.Generator().manual_seed(1))


def theirs(kind, x, **inputs):
    with torch.no_grad():
        return public.model(kind)(x, **inputs).logits


def bits(state):
    return {name: tensor.clone() for name, tensor in state.items()}


def assert_same_bits(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers(kind):
    made = network(kind)
    assert isinstance(made.inner, Transformer if kind in ("llama", "qwen3") else Foreign)
    torch.testing.assert_close(made(tokens()), theirs(kind, tokens()), rtol=0, atol=1e-4)
    if made.plain_head:
        torch.testing.assert_close(F.linear(made(tokens(), logits=False), made.head), made(tokens()))
    assert made.plain_head is (kind != "gemma2"), "its logits are capped"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_second_map_changes_nothing(kind):
    size = public.tokenizer(kind).get_vocab_size()
    port = Spec(Form.TOKENS, vocabulary=size, max_length=public.LONGEST)
    config = PretrainedDecoder.Config(base=str(place(kind)), adapter=ADAPTERS["lora"])
    made = PretrainedDecoder(config, port, port, {}).eval()
    torch.testing.assert_close(made(tokens()), theirs(kind, tokens()), rtol=0, atol=1e-4)


def test_a_prompt_is_embeddings_before_the_sequence():
    made, model = network("gpt2", "prompt"), public.model("gpt2")
    own = made.state_dict()["trained.virtual.tokens"]
    embedded = torch.cat([own.expand(4, -1, -1), model.get_input_embeddings()(tokens())], 1)
    with torch.no_grad():
        expected = model(inputs_embeds=embedded).logits[:, 3:]
    torch.testing.assert_close(made(tokens()), expected, rtol=0, atol=1e-4)


def test_a_prefix_is_keys_and_values_that_transformers_takes_too():
    from transformers.cache_utils import DynamicCache

    made, model, past = network("gpt2", "prefix"), public.model("gpt2"), DynamicCache()
    for index, (keys, values) in enumerate(made.state_dict()["trained.virtual.tokens"]):
        past.update(keys.expand(4, -1, -1, -1), values.expand(4, -1, -1, -1), index)
    with torch.no_grad():
        expected = model(tokens(), past_key_values=past).logits
    torch.testing.assert_close(made(tokens()), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("kind", "adapter"), CASES)
def test_cached_equals_uncached_with_rows_of_different_lengths(kind, adapter):
    made, x = network(kind, adapter), tokens()
    with torch.no_grad():
        full, cache = made(x), made.new_cache(4, 12)
        got = [made.prefill(x[:, :5], LENGTHS, cache)]
        got += [made.step(x[torch.arange(4), LENGTHS + offset], cache) for offset in range(3)]
    for offset, logits in enumerate(got):
        torch.testing.assert_close(logits, full[torch.arange(4), LENGTHS - 1 + offset], rtol=1e-4, atol=1e-4)
    assert cache.lengths.tolist() == (LENGTHS + 3).tolist()


@pytest.mark.parametrize(("kind", "adapter"), CASES)
def test_rows_go_on_as_alone_wherever_they_are_moved(kind, adapter):
    made, x, ones = network(kind, adapter), tokens(), torch.ones(4, dtype=torch.int64)
    with torch.no_grad():
        full, cache, other = made(x), made.new_cache(4, 12), made.new_cache(4, 12)
        made.prefill(x[:, :5], LENGTHS, cache)
        made.prefill(x[:, :1], ones, other)
        both = cache.select(torch.tensor([2, 0, 2])).join(other.select(torch.tensor([3])))
        rows, places = torch.tensor([2, 0, 2, 3]), torch.tensor([5, 3, 5, 1])
        for offset in range(2):
            got = made.step(x[rows, places + offset], both)
            torch.testing.assert_close(got, full[rows, places + offset], rtol=1e-4, atol=1e-4)
        # A request that joins later is fed into an empty cache and put behind the others.
        late = cache.empty(1, 12)
        made.prefill(x[1:2, :4], torch.tensor([4]), late)
        both = both.select(torch.tensor([1, 3])).join(late)
        rows, places = torch.tensor([0, 3, 1]), torch.tensor([5, 3, 4])
        got = made.step(x[rows, places], both)
    torch.testing.assert_close(got, full[rows, places], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "adapter"), FEW)
def test_a_batch_equals_its_items_and_padding_changes_nothing(kind, adapter):
    made, x = network(kind, adapter), tokens()
    alone = torch.cat([made(x[row : row + 1]) for row in range(4)])
    torch.testing.assert_close(made(x), alone, rtol=1e-4, atol=1e-5)
    real = torch.arange(9)[None] < LENGTHS[:, None]
    relaxed = F.one_hot(x, made.source.vocabulary).float().requires_grad_()
    made(relaxed)[real].square().sum().backward()
    assert (relaxed.grad[~real] == 0).all()
    assert (relaxed.grad[real].abs().sum(-1) > 0).all()
    torch.testing.assert_close(made(relaxed), made(x), rtol=1e-4, atol=1e-5)


def _loss(made, x, segments):
    """Next-token loss in nats, summed over pairs of one item."""
    logits = made(x[:, :-1], segments=None if segments is None else segments[:, :-1])
    weight = torch.ones_like(x[:, 1:]) if segments is None else segments[:, 1:] == segments[:, :-1]
    return (F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none") * weight.flatten()).sum()


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_packed_rows_and_its_gradient_are_those_of_their_items(kind):
    made, x = network(kind, "lora"), tokens(2, 12)
    sizes = [[5, 4, 3], [2, 9, 1]]
    segments = torch.tensor([[number for number, size in enumerate(row, 1) for _ in range(size)] for row in sizes])
    packed = _loss(made, x, segments)
    items = [item[None] for row, cuts in zip(x, sizes, strict=True) for item in row.split(cuts) if len(item) > 1]
    apart = sum(_loss(made, item, None) for item in items)
    torch.testing.assert_close(packed, apart, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(packed, _loss(made, x, None))
    trained = list(made.parameters())
    for left, right in zip(*(torch.autograd.grad(loss, trained) for loss in (packed, apart)), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_packed_rows_are_refused_where_virtual_tokens_would_have_to_stand_between():
    with pytest.raises(Unsupported, match="packed rows have no place"):
        network("gpt2", "prompt")(tokens(), segments=torch.ones_like(tokens()))


@pytest.mark.parametrize(("kind", "adapter"), FEW)
def test_what_is_trained_is_alone_in_the_state_and_the_base_never_changes(kind, adapter):
    made = network(kind, adapter)
    base = bits(made.base.tensors)
    names = set(made.state_dict())
    if adapter == "none":
        assert not names
        return
    marks = {"lora": ".lora_"}.get(adapter, "virtual.tokens")
    assert names
    assert all(marks in name and name.startswith("trained.") for name in names)
    assert all(".default." not in name for name in names)
    assert set(dict(made.named_parameters())) == names
    before, optimiser = bits(made.state_dict()), torch.optim.SGD(made.parameters(), 0.1)
    for _ in range(2):
        optimiser.zero_grad()
        made.train()(tokens()).square().mean().backward()
        optimiser.step()
        made.eval().prefill(tokens(), torch.full((4,), 9), made.new_cache(4, 12))
    assert all(not torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    assert_same_bits(bits(made.base.tensors), base)


def test_the_merged_weights_are_those_of_the_second_maps_and_go_away_after_an_error():
    made = network("llama", "lora")
    expected = made(tokens())
    held = bits(dict(made.inner.named_parameters()))
    with merged(made.inner):
        changed = [name for name, tensor in made.inner.named_parameters() if not torch.equal(tensor, held[name])]
        assert changed
        assert all("base_layer" in name for name in changed)
    assert_same_bits(bits(dict(made.inner.named_parameters())), held)
    with pytest.raises(ZeroDivisionError), merged(made.inner):
        raise ZeroDivisionError
    assert_same_bits(bits(dict(made.inner.named_parameters())), held)
    assert torch.equal(made(tokens()), expected)


def test_two_adapters_share_the_memory_of_their_base():
    one, two = network("llama", "lora"), network("llama", "lora")

    def frozen(made):
        return {name: tensor.data_ptr() for name, tensor in made.inner.named_parameters() if "lora" not in name}

    assert one.base is two.base
    assert frozen(one) == frozen(two)
    assert one.state_dict().keys() == two.state_dict().keys()
    assert all(one.state_dict()[name].data_ptr() != two.state_dict()[name].data_ptr() for name in one.state_dict())


def test_an_optimiser_an_average_and_a_move_see_the_adapter_and_nothing_else():
    made = network("gpt2", "lora")
    assert sum(p.numel() for p in made.parameters()) < 0.2 * sum(p.numel() for p in made.inner.parameters())
    assert not list(made.buffers())
    made.to(torch.float64)
    assert made(tokens()).dtype is torch.float64
    assert all(p.dtype is torch.float64 for p in made.inner.parameters())


def test_dropout_of_the_second_maps_follows_training_and_evaluation():
    size = public.tokenizer("llama").get_vocab_size()
    port = Spec(Form.TOKENS, vocabulary=size, max_length=public.LONGEST)
    adapter = {"name": "lora", "rank": 2, "dropout": 0.5}
    made = PretrainedDecoder(PretrainedDecoder.Config(base=str(place("llama")), adapter=adapter), port, port, {})
    nn.init.normal_(next(p for name, p in made.named_parameters() if "lora_B" in name))
    made.train()
    assert not torch.equal(made(tokens()), made(tokens()))
    made.eval()
    assert torch.equal(made(tokens()), made(tokens()))


def test_chosen_maps_alone_get_a_second_one_and_unknown_ones_are_named():
    port = Spec(Form.TOKENS, vocabulary=public.tokenizer("llama").get_vocab_size(), max_length=8)

    def made(*targets):
        adapter = {"name": "lora", "rank": 2, "targets": targets}
        config = PretrainedDecoder.Config(base=str(place("llama")), adapter=adapter)
        return PretrainedDecoder(config, port, port, {}).state_dict()

    assert {name.split(".lora_")[0].rpartition(".")[2] for name in made("q_proj", "v_proj")} == {"q_proj", "v_proj"}
    with pytest.raises(Unsupported, match=r"q_projection.*q_proj"):
        made("q_projection")


def test_a_base_with_other_weights_is_refused_by_its_checksum(tmp_path):
    folder = public.folder("llama", tmp_path / "base")
    held = network("llama", "lora", folder)
    network("llama", "lora", folder, sha256=held.base.sha256)
    public.folder("llama", folder, seed=1)
    with pytest.raises(CorruptFile, match="another checksum"):
        network("llama", "lora", folder, sha256=held.base.sha256)


def test_a_vocabulary_that_is_larger_than_the_models_is_refused():
    port = Spec(Form.TOKENS, vocabulary=5000, max_length=8)
    with pytest.raises(Unsupported, match="5,000 tokens"):
        PretrainedDecoder(PretrainedDecoder.Config(base=str(place("gpt2"))), port, port, {})


def test_a_model_that_writes_nothing_is_refused():
    port = Spec(Form.TOKENS, vocabulary=10, max_length=8)
    with pytest.raises(Unsupported, match="none that writes text"):
        PretrainedDecoder(PretrainedDecoder.Config(base=str(place("t5"))), port, port, {})


def test_there_is_no_preset():
    port = Spec(Form.TOKENS, vocabulary=10, max_length=8)
    with pytest.raises(Unsupported, match=r"model\.start"):
        PretrainedDecoder.preset("tiny", port, port, {})
