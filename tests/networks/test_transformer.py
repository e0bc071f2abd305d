import pytest
import torch
from pydantic import ValidationError

from miaobi.errors import Unsupported
from miaobi.networks.transformer import Transformer
from miaobi.types import Form, Spec

PORT = Spec(Form.TOKENS, vocabulary=50, max_length=32)


def network(**options):
    torch.manual_seed(0)
    config = Transformer.Config(**{"width": 64, "depth": 2, "heads": 4, "inner": 96, **options})
    built = Transformer(config, PORT, PORT, {}).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
    return built


def tokens(rows=3, length=20):
    return torch.randint(50, (rows, length), generator=torch.Generator().manual_seed(1))


SHAPES = [
    {},
    {"qk_norm": False},
    {"key_heads": 2},
    {"tied": False, "head_width": 8},
    {"key_heads": 1, "qk_norm": False},
]


@pytest.mark.parametrize("options", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-4), (torch.bfloat16, 0.3)])
def test_cached_equals_uncached_after_two_prefills_of_ragged_rows(options, dtype, tolerance):
    built, x, lengths = network(**options), tokens(), torch.tensor([4, 7, 5])
    rows = torch.arange(3)
    with torch.no_grad():
        full = built(x)
        cache = built.new_cache(3, 16, dtype)
        got = [(built.prefill(x[:, :7], lengths, cache), lengths)]
        got += [(built.step(x[rows, lengths + fed], cache), lengths + fed + 1) for fed in range(3)]
        more, at = torch.tensor([3, 1, 2]), lengths + 3
        again = torch.stack([x[row, at[row] : at[row] + 3] for row in range(3)])
        got.append((built.prefill(again, more, cache), at + more))
    for logits, length in got:
        torch.testing.assert_close(logits, full[rows, length - 1], rtol=0, atol=tolerance)


def test_equally_long_rows_decode_as_ragged_ones_do():
    built, x = network(), tokens()
    with torch.no_grad():
        level, ragged = built.new_cache(3, 16), built.new_cache(3, 16)
        built.prefill(x[:, :5], torch.tensor([5, 5, 5]), level)
        built.prefill(x[:, :5], torch.tensor([5, 5, 5]), ragged)
        ragged.level = False
        for place in range(5, 9):
            left, right = built.step(x[:, place], level), built.step(x[:, place], ragged)
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_joined_caches_go_on_as_apart():
    built, x = network(), tokens()
    with torch.no_grad():
        full = built(x)
        first, second = built.new_cache(2, 8), built.new_cache(1, 16)
        built.prefill(x[:2, :3], torch.tensor([3, 3]), first)
        built.prefill(x[2:, :6], torch.tensor([6]), second)
        both = first.join(second)
        got = built.step(torch.stack([x[0, 3], x[1, 3], x[2, 6]]), both)
    torch.testing.assert_close(got, full[torch.arange(3), torch.tensor([3, 3, 6])], rtol=1e-4, atol=1e-4)
    assert both.span == 16


def test_a_cache_keeps_the_weights_it_was_made_over():
    built, x = network(), tokens(1, 3)
    with torch.no_grad():
        expected, cache = built(x)[:, -1], built.new_cache(1, 8)
        for parameter in built.parameters():
            parameter.mul_(2)
        got = built.prefill(x, torch.tensor([3]), cache)
        fresh = built.prefill(x, torch.tensor([3]), built.new_cache(1, 8))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert (fresh - expected).abs().max() > 0.1


def test_an_overfull_cache_is_refused():
    built = network()
    with pytest.raises(ValueError, match="holds 4 tokens"):
        built.prefill(tokens(1, 5), torch.tensor([5]), built.new_cache(1, 4))


@pytest.mark.parametrize("qk_norm", [False, True], ids=["llama", "qwen3"])
def test_exporting_to_transformers_is_renaming(qk_norm):
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    built, x = network(qk_norm=qk_norm, tied=False, key_heads=2), tokens()
    kind, settings = (Qwen3ForCausalLM, Qwen3Config) if qk_norm else (LlamaForCausalLM, LlamaConfig)
    config = built.config
    peer = kind(
        settings(
            vocab_size=50, hidden_size=64, intermediate_size=config.inner_size, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=32,
            rms_norm_eps=config.eps, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    renamed = {name if name.startswith("lm_head") else f"model.{name}": p for name, p in built.state_dict().items()}
    peer.load_state_dict(renamed)
    ours, theirs = built(x), peer(x).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    ours.logsumexp(-1).sum().backward()
    theirs.logsumexp(-1).sum().backward()
    gradients = dict(peer.named_parameters())
    for name, parameter in built.named_parameters():
        expected = gradients[name if name.startswith("lm_head") else f"model.{name}"].grad
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_it_starts_as_its_embedding_and_its_head():
    torch.manual_seed(0)
    built = Transformer(Transformer.Config(width=64, depth=2, heads=4), PORT, PORT, {})
    x = tokens()
    expected = built.norm(built.embed_tokens(x)) @ built.head.T
    torch.testing.assert_close(built(x), expected)


def test_presets_grow_and_tie_large_vocabularies():
    sizes = [sum(p.numel() for p in _preset(size, PORT).parameters()) for size in ("tiny", "small", "large")]
    assert sizes == sorted(sizes)
    assert _preset("tiny", PORT).lm_head is not None
    assert _preset("tiny", Spec(Form.TOKENS, vocabulary=5000, max_length=8)).lm_head is None


def _preset(size, port):
    return Transformer(Transformer.preset(size, port, port, {}), port, port, {})


@pytest.mark.parametrize(
    "options", [{"width": 65}, {"heads": 3, "width": 48, "key_heads": 2}, {"width": 12, "heads": 4}]
)
def test_shapes_that_do_not_divide_are_refused(options):
    with pytest.raises(ValidationError, match=r"divide|odd"):
        Transformer.Config(**{"heads": 4, **options})


def test_conditions_are_refused_with_the_family_that_lays_them_out():
    label = {"label": Spec(Form.LABEL, vocabulary=3)}
    with pytest.raises(Unsupported, match="prefix of tokens"):
        Transformer.preset("tiny", PORT, PORT, label)


def test_dropout_acts_in_training_only():
    built, x = network(dropout=0.5), tokens()
    assert torch.equal(built(x), built(x))
    built.train()
    assert not torch.equal(built(x), built(x))
