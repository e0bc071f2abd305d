import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.networks.encoder import Encoder, mean
from miaobi.types import Field, Form, Spec, vector_spec

WORDS = Spec(Form.TOKENS, vocabulary=11, max_length=12)
CONDITIONS = {"label": Spec(Form.LABEL, vocabulary=3)}


def encoder(target=WORDS, conditions=CONDITIONS, **options):
    torch.manual_seed(0)
    preset = Encoder.preset("tiny", WORDS, target, conditions)
    made = Encoder(preset.model_copy(update=options), WORDS, target, conditions).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return made


def tokens(rows=4, length=9):
    return torch.randint(11, (rows, length), generator=torch.Generator().manual_seed(1))


def real_of(*lengths, longest=9):
    return torch.arange(longest)[None] < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("place", [0, 4, 8])
def test_every_position_sees_every_other_on_both_sides(place):
    network, x = encoder(), tokens()
    other = x.clone()
    other[:, place] = (other[:, place] + 1) % 11
    change = (network(x) - network(other)).abs().amax(-1)
    assert (change > 1e-5).all()


@pytest.mark.parametrize("target", [WORDS, vector_spec(3)], ids=["tokens", "vector"])
def test_padding_changes_nothing(target):
    network, x, real = encoder(target), tokens(), real_of(9, 1, 5, 3)
    noisy = torch.where(real, x, (x + 3) % 11)
    left, right = network(x, real=real), network(noisy, real=real)
    for row, length in enumerate(real.sum(1).tolist()):
        alone = network(x[row : row + 1, :length])[0]
        got = (left[row], right[row]) if target.form is Form.TENSOR else (left[row, :length], right[row, :length])
        for one in got:
            torch.testing.assert_close(one, alone, rtol=1e-4, atol=1e-5)
    assert (network(x, real=real)[1] - network(x)[1]).abs().amax() > 1e-3


def test_logits_are_hidden_states_times_the_head_tied_or_not():
    for tied in (True, False):
        network, x = encoder(tied=tied), tokens()
        hidden = network(x, logits=False)
        assert hidden.shape == (4, 9, 64)
        torch.testing.assert_close(network(x), hidden @ network.head.T)
        assert (network.head is network.embed_tokens.weight) is tied


def test_a_vector_is_made_of_the_mean_of_what_is_real():
    network, x, real = encoder(vector_spec(3)), tokens(), real_of(9, 1, 5, 3)
    hidden = network(x, real=real, logits=False)
    means = torch.stack([hidden[row, :length].mean(0) for row, length in enumerate(real.sum(1).tolist())])
    torch.testing.assert_close(mean(hidden, real), means)
    torch.testing.assert_close(network(x, real=real), network.output(means))


def test_both_kinds_have_the_same_trunk_under_the_same_names():
    words, vector = (set(encoder(target).state_dict()) for target in (WORDS, vector_spec(3)))
    assert words - vector == {"lm_head.weight"}
    assert vector - words == {"output.linear.weight", "output.linear.bias"}


def test_a_fresh_one_predicts_nearly_uniformly_and_trains_past_its_zeros():
    network = Encoder(Encoder.preset("tiny", WORDS, WORDS, {}), WORDS, WORDS, {})
    assert torch.equal(network(tokens()), torch.zeros(4, 9, 11))
    network = Encoder(Encoder.preset("tiny", WORDS, vector_spec(3), {}), WORDS, vector_spec(3), {})
    network(tokens()).square().sum().backward()
    assert network.embed_tokens.weight.grad.abs().sum() > 0


def test_conditions_enter_as_vectors_only_and_images_are_not_made():
    title = {"title": Spec(Form.TOKENS, vocabulary=7, max_length=5)}
    preset = Encoder.preset("tiny", WORDS, WORDS, title)
    options = type(preset).parse({**preset.to_json(), "conditioner": {"title": {"how": "sequence"}}})
    with pytest.raises(Unsupported, match="cannot take conditions this way"):
        Encoder(options, WORDS, WORDS, title)
    with pytest.raises(Unsupported, match="use convolutional"):
        Encoder.preset("tiny", WORDS, Spec(Form.TENSOR, 1, (8, 8)), {})
    with pytest.raises(Unsupported, match="same vocabulary"):
        Encoder.preset("tiny", WORDS, Spec(Form.TOKENS, vocabulary=12), {})


def test_an_absent_condition_is_as_one_that_was_never_named():
    network, x = encoder(), tokens(2)
    absent = {"label": Field(torch.tensor([1, 2]), present=torch.tensor([False, False]))}
    assert torch.equal(network(x, absent), network(x))
