from dataclasses import replace

import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.networks import Conditioning
from miaobi.networks.encoder_decoder import EncoderDecoder
from miaobi.types import Field, Form, Spec

PORT = Spec(Form.TOKENS, vocabulary=20, max_length=32)
CONDITIONS = {
    "label": Spec(Form.LABEL, vocabulary=3),
    "picture": Spec(Form.TENSOR, channels=2, space=(6, 6)),
    "text": Spec(Form.TOKENS, vocabulary=15, max_length=8, shared=True),
    "title": Spec(Form.TOKENS, vocabulary=9, max_length=5),
}
SHAPES = [
    {},
    {"qk_norm": False},
    {"key_heads": 2},
    {"tied": False, "head_width": 8, "encoder_depth": 1},
    {"copying": True},
]


def network(conditions=CONDITIONS, **options):
    torch.manual_seed(0)
    config = EncoderDecoder.Config(**{"width": 32, "depth": 2, "encoder_depth": 2, "heads": 4, "inner": 48, **options})
    built = EncoderDecoder(config, PORT, PORT, conditions).eval()
    for name, parameter in built.named_parameters():
        torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.2)
    return built


def tokens(rows=4, length=20):
    return torch.randint(20, (rows, length), generator=torch.Generator().manual_seed(1))


def told(rows=slice(None)):
    generator = torch.Generator().manual_seed(2)
    text = Field(torch.randint(15, (4, 8), generator=generator), lengths=torch.tensor([8, 3, 0, 5]))
    title = Field(torch.randint(9, (4, 5), generator=generator), lengths=torch.tensor([2, 5, 0, 1]))
    fields = {
        "label": Field(torch.tensor([0, 1, 2, 0])),
        "picture": Field(
            torch.randn(4, 2, 6, 6, generator=generator), present=torch.tensor([True, False, False, True])
        ),
        "text": replace(text, present=torch.tensor([True, True, True, False])),
        "title": title,
    }
    return {name: field.select(rows) for name, field in fields.items()}


@pytest.mark.parametrize("options", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-4), (torch.bfloat16, 0.3)])
def test_cached_equals_uncached_after_two_prefills_of_ragged_rows(options, dtype, tolerance):
    built, x, lengths, rows = network(**options), tokens(), torch.tensor([4, 7, 5, 1]), torch.arange(4)
    with torch.no_grad():
        full, cache = built(x, told()), built.new_cache(4, 16, dtype)
        cache.tell(built.sources(told(), 4))
        got = [(built.prefill(x[:, :7], lengths, cache), lengths)]
        got += [(built.step(x[rows, lengths + fed], cache), lengths + fed + 1) for fed in range(3)]
        more, at = torch.tensor([3, 1, 2, 2]), lengths + 3
        again = torch.stack([x[row, at[row] : at[row] + 3] for row in range(4)])
        got.append((built.prefill(again, more, cache), at + more))
    for logits, length in got:
        torch.testing.assert_close(logits, full[rows, length - 1], rtol=0, atol=tolerance)


def test_what_is_read_is_encoded_once_and_its_keys_are_made_once():
    built, x = network(), tokens()
    with torch.no_grad():
        cache = built.new_cache(4, 16)
        cache.tell(built.sources(told(), 4))
        kept = cache.memory
        built.prefill(x[:, :5], torch.full((4,), 5), cache)
        built.step(x[:, 5], cache)
    assert cache.memory is kept
    assert len(kept.keys) == 2


def test_a_batch_reads_as_its_items_do_alone():
    built, x = network(), tokens()
    with torch.no_grad():
        together = built(x, told())
        alone = torch.cat([built(x[row : row + 1], told(slice(row, row + 1))) for row in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_padding_of_a_condition_changes_nothing():
    built, x, given = network(), tokens(), told()
    wider = dict(given)
    for name, value in (("text", 7), ("title", 3)):
        field = given[name]
        noise = torch.full((4, 3), value)
        padded = torch.where(field.mask(), field.values, torch.full_like(field.values, value))
        wider[name] = replace(field, values=torch.cat([padded, noise], 1))
    with torch.no_grad():
        torch.testing.assert_close(built(x, given), built(x, wider), rtol=1e-5, atol=1e-5)


def test_an_empty_text_is_not_an_absent_one():
    built, x = network({"text": CONDITIONS["text"]}), tokens(1)
    empty = {"text": Field(torch.zeros(1, 0, dtype=torch.int64))}
    padded = {"text": Field(torch.zeros(1, 4, dtype=torch.int64), lengths=torch.tensor([0]))}
    with torch.no_grad():
        torch.testing.assert_close(built(x, empty), built(x, padded))
        assert (built(x, empty) - built(x, {})).abs().max() > 1e-3


def test_order_is_read():
    built, x = network({"text": CONDITIONS["text"]}), tokens(1)
    values = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        change = built(x, {"text": Field(values)}) - built(x, {"text": Field(values.flip(1))})
    assert change.abs().max() > 1e-3


def test_it_starts_as_its_embedding_and_its_head():
    torch.manual_seed(0)
    built = EncoderDecoder(EncoderDecoder.Config(width=64, depth=2, heads=4), PORT, PORT, {"text": CONDITIONS["text"]})
    x = tokens()
    torch.testing.assert_close(built(x), built.norm(built.embed_tokens(x)) @ built.head.T)


def test_gradients_are_of_one_size_where_the_condition_is_absent():
    torch.manual_seed(0)
    built = EncoderDecoder(EncoderDecoder.Config(width=64, depth=2, heads=4), PORT, PORT, {"text": CONDITIONS["text"]})
    for layer in built.layers:
        torch.nn.init.normal_(layer.cross_attn.o_proj.weight, std=0.1)
    built(tokens()).square().mean().backward()
    null = built.conditioner.nulls["text"].grad.norm()
    assert 0 < null < 30 * built.layers[0].cross_attn.o_proj.weight.grad.norm()


def test_gradients_reach_the_encoder():
    built = network()
    built(tokens(), told()).square().mean().backward()
    for part in (built.encoder, built.conditioner.encoders):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_autocast_reaches_the_encoder_and_changes_little():
    built, x = network(), tokens()
    with torch.no_grad():
        exact = built(x, told())
        with torch.autocast("cpu", torch.bfloat16):
            rough = built(x, told())
            assert built.read(told(), 4).sequence.dtype is torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.5)


def test_presets_grow():
    sizes = []
    for size in ("tiny", "small", "large"):
        built = EncoderDecoder(EncoderDecoder.preset(size, PORT, PORT, CONDITIONS), PORT, PORT, CONDITIONS)
        sizes.append(sum(p.numel() for p in built.parameters()))
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(("space", "positions"), [((4096,), 256), ((63,), 32), ((28, 28), 196), ((64, 64), 256)])
def test_enough_of_a_tensor_is_left_to_attend_to(space, positions):
    spec = Spec(Form.TENSOR, channels=2, space=space)
    read = network({"it": spec}).read({"it": Field(torch.zeros(1, 2, *space))}, 1)
    assert read.sequence.shape[1] == positions


def test_how_conditions_enter_can_be_said():
    built = network(conditioner={"text": Conditioning(how="vector", depth=1)})
    assert built.conditioner.how == {"label": "vector", "picture": "sequence", "text": "vector", "title": "sequence"}


def test_nothing_to_read_and_conditions_that_cannot_be_read_are_refused():
    with pytest.raises(Unsupported, match="there is none"):
        EncoderDecoder.preset("tiny", PORT, PORT, {})
    with pytest.raises(Unsupported, match="none enters as a sequence"):
        network({"label": CONDITIONS["label"]})
    with pytest.raises(Unsupported, match="cannot take conditions this way"):
        network(conditioner={"picture": Conditioning(how="spatial")})


def test_dropout_acts_in_training_only():
    built, x = network(dropout=0.5), tokens()
    assert torch.equal(built(x, told()), built(x, told()))
    built.train()
    assert not torch.equal(built(x, told()), built(x, told()))
