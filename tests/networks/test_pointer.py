import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import Unsupported
from miaobi.networks._pointer import mixture
from miaobi.networks.attentive_recurrent import AttentiveRecurrent
from miaobi.networks.encoder_decoder import EncoderDecoder
from miaobi.types import Field, Form, Spec

PORT = Spec(Form.TOKENS, vocabulary=12, max_length=8)
SHARED = Spec(Form.TOKENS, vocabulary=10, max_length=6, shared=True)
OWN = Spec(Form.TOKENS, vocabulary=10, max_length=6)


def parts(seed, rows=3, length=4, read=5, vocabulary=7):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(-1, vocabulary, (rows, read), generator=generator)
    mask = torch.rand(rows, read, generator=generator) < 0.7
    gate = torch.randn(rows, length, 1, generator=generator)
    scores = torch.randn(rows, length, read, generator=generator)
    return gate, scores, mask & (tokens >= 0), tokens, torch.randn(rows, length, vocabulary, generator=generator)


@given(st.integers(0, 10**6))
def test_it_is_the_mixture_that_the_paper_writes(seed):
    gate, scores, copied, tokens, logits = parts(seed)
    got = mixture(gate, scores, copied, tokens, logits).exp()
    for row in range(3):
        places = [place for place in range(5) if copied[row, place]]
        for t in range(4):
            wanted = logits[row, t].softmax(-1)
            if places:
                share = torch.sigmoid(gate[row, t, 0])
                attention = scores[row, t, places].softmax(-1)
                wanted = wanted * (1 - share)
                for place, weight in zip(places, attention, strict=True):
                    wanted[tokens[row, place]] += share * weight
            torch.testing.assert_close(got[row, t], wanted)
            torch.testing.assert_close(got[row, t].sum(), torch.tensor(1.0))


def test_where_nothing_can_be_copied_all_is_written_and_gradients_are_finite():
    gate, scores, _, tokens, logits = (part.requires_grad_(part.is_floating_point()) for part in parts(0))
    nothing = torch.zeros(3, 5, dtype=torch.bool)
    got = mixture(gate, scores, nothing, tokens, logits)
    torch.testing.assert_close(got, logits.log_softmax(-1))
    got.square().sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(scores.grad).all()


def built(kind, conditions, **options):
    torch.manual_seed(0)
    return kind(kind.Config(width=32, copying=True, **options), PORT, PORT, conditions)


KINDS = [
    pytest.param(EncoderDecoder, {"heads": 4, "depth": 1, "encoder_depth": 1}, id="encoder_decoder"),
    pytest.param(AttentiveRecurrent, {"hidden": 32}, id="attentive_recurrent"),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_words_that_were_never_learned_are_taken_over(kind, options):
    """Trained to repeat tokens 0 to 4, it repeats 5 to 9: only copying can."""
    network = built(kind, {"text": SHARED}, **options)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)

    def loss(low, high):
        x = torch.randint(low, high, (16, 1), generator=generator).expand(-1, 3)
        logits = network(torch.full((16, 1), 11), {"text": Field(x)})
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), x[:, :1].flatten())

    for _ in range(60):
        optimiser.zero_grad()
        loss(0, 5).backward()
        optimiser.step()
    with torch.no_grad():
        assert loss(5, 10) < 0.7 * torch.log(torch.tensor(12.0))


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_conditions_in_other_tokens_are_refused(kind, options):
    with pytest.raises(Unsupported, match="copying: false"):
        built(kind, {"text": OWN}, **options)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_hidden_states_are_refused_since_no_matrix_makes_its_logits(kind, options):
    network = built(kind, {"text": SHARED}, **options)
    with pytest.raises(Unsupported, match="copies"):
        network(torch.zeros(1, 2, dtype=torch.int64), logits=False)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_other_conditions_are_read_beside_but_not_copied(kind, options):
    network = built(kind, {"other": OWN, "text": SHARED}, **options).eval()
    torch.nn.init.constant_(network.pointer.gate.bias, 20.0)
    told = {"other": Field(torch.tensor([[7, 7, 7]])), "text": Field(torch.tensor([[3, 4]]))}
    with torch.no_grad():
        said = network(torch.tensor([[11]]), told).exp()[0, 0]
    torch.testing.assert_close(said[3] + said[4], torch.tensor(1.0), rtol=1e-4, atol=1e-4)


def test_a_shared_condition_shares_the_embedding_and_counts_it_once():
    shared, own = (
        EncoderDecoder(EncoderDecoder.Config(width=32, heads=4), PORT, PORT, {"text": one}) for one in (SHARED, OWN)
    )
    count = [sum(p.numel() for p in network.parameters()) for network in (shared, own)]
    assert count[1] - count[0] == 10 * 32
    assert not [name for name in shared.state_dict() if "conditioner" in name and "embedding" in name]
    x, told = torch.zeros(1, 2, dtype=torch.int64), {"text": Field(torch.tensor([[1, 2]]))}
    for layer in shared.layers:
        torch.nn.init.normal_(layer.cross_attn.o_proj.weight)
    before = shared(x, told)
    with torch.no_grad():
        shared.embed_tokens.weight[1:3] += torch.randn(2, 32)
    assert (shared(x, told)[..., :1] - before[..., :1]).abs().max() > 1e-3
