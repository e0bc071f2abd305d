import pytest
import torch

from miaobi import networks
from miaobi.types import Form, Spec

PORT = Spec(Form.TOKENS, vocabulary=20, max_length=40)


def network(name, **options):
    torch.manual_seed(0)
    kind = networks.find(name)
    built = kind(kind.Config(**options), PORT, PORT, {}).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "causal_convolutional"])
def test_long_prompts_and_many_steps_equal_the_parallel_pass(name):
    options = {"depth": 4, "cycle": 2} if name == "causal_convolutional" else {"hidden": 12}
    built = network(name, width=8, **options)
    x = torch.randint(20, (2, 40))
    with torch.no_grad():
        full, cache = built(x), built.new_cache(2, 40)
        got = [built.prefill(x[:, :17], torch.tensor([17, 11]), cache)]
        places = torch.tensor([17, 11])
        for _ in range(20):
            got.append(built.step(x[torch.arange(2), places], cache))
            places = places + 1
    for offset, logits in enumerate(got):
        at = torch.tensor([16, 10]) + offset
        torch.testing.assert_close(logits, full[torch.arange(2), at], rtol=1e-4, atol=1e-4)


def test_the_textbook_gru_has_the_textbook_size():
    port = Spec(Form.TOKENS, vocabulary=1000, max_length=100)
    kind = networks.find("gru")
    built = kind(kind.Config(width=256, hidden=512, depth=2, dropout=0.5), port, port, {})
    gates = 3 * 512
    layers = gates * (256 + 512 + 2) + gates * (512 + 512 + 2)
    assert sum(p.numel() for p in built.parameters()) == 1000 * 256 + layers + 1000 * 512


def test_forget_gates_start_open():
    kind = networks.find("lstm")
    built = kind(kind.Config(width=4, hidden=6, depth=2), PORT, PORT, {})
    for layer in range(2):
        assert (getattr(built.layers, f"bias_ih_l{layer}")[6:12] == 1).all()


def test_convolutions_see_as_far_as_they_say():
    built = network("causal_convolutional", width=8, depth=3, kernel=3, cycle=3)
    sees = 1 + 2 * (1 + 2 + 4)
    x = torch.randint(20, (1, 40))
    for distance, same in ((sees - 1, False), (sees, True)):
        changed = x.clone()
        changed[0, 39 - distance] = (changed[0, 39 - distance] + 1) % 20
        assert torch.allclose(built(x)[0, 39], built(changed)[0, 39], atol=1e-6) is same
