import pytest
import torch

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.networks import Conditioning
from miaobi.networks.mlp import MLP
from miaobi.types import Field, Form, Spec, vector_spec

IMAGE = Spec(Form.TENSOR, 1, (28, 28), levels=256)
LABEL = {"label": Spec(Form.LABEL, vocabulary=3)}


def build(source, target, conditions=None, **options):
    torch.manual_seed(0)
    return MLP(MLP.Config(**options), source, target, conditions or {})


def linear_shapes(network):
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, torch.nn.Linear)]


def test_the_textbook_generator_and_discriminator():
    generator = build(vector_spec(100), IMAGE, hidden=[128, 256], output="tanh")
    discriminator = build(IMAGE, vector_spec(1), hidden=[128, 256])
    assert linear_shapes(generator) == [(128, 100), (256, 128), (784, 256)]
    assert linear_shapes(discriminator) == [(128, 784), (256, 128), (1, 256)]
    made = generator(torch.randn(5, 100))
    assert made.shape == (5, 1, 28, 28)
    assert made.abs().max() <= 1
    assert discriminator(made).shape == (5, 1)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu", "gelu", "tanh"])
def test_signal_keeps_its_size_through_depth(activation):
    network = build(vector_spec(64), vector_spec(64), hidden=[256] * 8, activation=activation)
    seen = []
    network.layers[-1].register_forward_hook(lambda module, inputs, out: seen.append(out.std().item()))
    network(torch.randn(64, 64))
    assert 0.2 < seen[0] < 5


@pytest.mark.parametrize(("output", "low", "high"), [("tanh", -1, 1), ("sigmoid", 0, 1)])
def test_outputs_stay_in_range(output, low, high):
    network = build(vector_spec(4), vector_spec(8), hidden=[8], output=output)
    out = network(1000 * torch.randn(9, 4))
    assert low <= out.min() < out.max() <= high


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norms_and_dropout_do_something(norm):
    network = build(vector_spec(4), vector_spec(8), hidden=[64], norm=norm, dropout=0.5).train()
    x = torch.randn(6, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_projection_adds_an_inner_product_and_nothing_when_absent():
    network = build(vector_spec(4), vector_spec(1), LABEL, hidden=[16], projection=True)
    x = torch.randn(3, 4)
    absent = Field(torch.arange(3), present=torch.zeros(3, dtype=torch.bool))
    assert torch.equal(network(x, {"label": absent}), network(x))
    told = network(x, {"label": Field(torch.arange(3))})
    hidden = network.activation(network.layers[0](x))
    expected = network(x) + (hidden * network.conditioner.encoders["label"].embedding.weight).sum(1, True) / 4
    torch.testing.assert_close(told, expected)


def test_time_scales_and_shifts_the_hidden_layers_of_a_denoiser():
    config = MLP.preset("tiny", IMAGE, IMAGE, {})
    assert config.time
    assert not MLP.preset("tiny", vector_spec(784), IMAGE, {}).time
    assert not MLP.preset("tiny", vector_spec(8), vector_spec(1), LABEL).time
    torch.manual_seed(0)
    network = MLP(config, IMAGE, IMAGE, {})
    x = torch.randn(3, 1, 28, 28)
    late = network(x, time=torch.tensor([0.0, 0.5, 1.0]))
    assert late.shape == x.shape
    change = (late - network(x)).flatten(1).abs().amax(1)
    assert change[0] == 0
    assert (change[1:] > 1e-3).all()
    near = network(x[:1].expand(2, -1, -1, -1), time=torch.tensor([0.5, 0.501]))
    assert 0 < (near[0] - near[1]).abs().max() < 0.3
    with pytest.raises(Unsupported, match="time: true"):
        build(vector_spec(2), vector_spec(2))(torch.zeros(1, 2), time=torch.zeros(1))


def test_last_layer_is_float32_under_autocast():
    network = build(vector_spec(4), vector_spec(8), hidden=[16])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(torch.randn(3, 4)).dtype == torch.float32


def test_wrong_ports_conditions_and_options_are_refused():
    words = Spec(Form.TOKENS, vocabulary=5, max_length=4)
    with pytest.raises(Unsupported, match=r"transformer"):
        MLP.preset("tiny", words, vector_spec(2), {})
    with pytest.raises(Unsupported, match=r"label"):
        build(vector_spec(2), IMAGE, LABEL, conditioner={"label": Conditioning(how="sequence")})
    with pytest.raises(InvalidRecipe, match=r"hidden"):
        MLP.Config.parse({"hidden": [0]})
    with pytest.raises(InvalidRecipe, match=r"did you mean hidden"):
        MLP.Config.parse({"hiden": [4]})


def test_a_step_is_told_beside_time_where_the_config_says_so():
    plain, network = (build(vector_spec(4), vector_spec(4), time=True, step=step) for step in (False, True))
    x, time = torch.randn(3, 4), torch.full((3,), 0.5)
    zero = network(x, time=time, step=torch.zeros(3))
    assert torch.equal(network(x, time=time), zero)
    change = (network(x, time=time, step=torch.tensor([0.0, 1 / 64, 1.0])) - zero).abs().amax(1)
    assert change[0] < 1e-6 < change[1:].min()
    with pytest.raises(Unsupported, match="step: true"):
        plain(x, time=time, step=time)
    with pytest.raises(InvalidRecipe, match="time: true too"):
        MLP.Config.parse({"step": True})
