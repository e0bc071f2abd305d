"""Untrained token networks to decode with, and what two ways of decoding may differ by."""

import functools

import torch

from miaobi import networks
from miaobi.families.autoregressive import Autoregressive
from miaobi.modalities.text import Text
from miaobi.models import Model
from miaobi.sampling.noise import uniform
from miaobi.types import Form, Spec

NETWORKS = ["transformer", "lstm", "gru", "rnn", "causal_convolutional"]
SIZE, END = 10, 9
NEAR = 1e-3


@functools.cache
def network(name, span=64, vocabulary=12):
    torch.manual_seed(0)
    port = Spec(Form.TOKENS, vocabulary=vocabulary, max_length=span)
    kind = networks.find(name)
    built = kind(kind.preset("tiny", port, port, {}), port, port, {}).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return built


def writer(tokenizer="character", name="transformer", texts=None, length=60, stream=False, **options):
    """A model of text that has learnt nothing."""
    text = Text(Text.Config(tokenizer=tokenizer, **({} if stream else {"max_length": length}), **options))
    text.fit(texts or ["".join(map(chr, range(32, 127))) + "世界é\n"] * 3, stream=stream)
    port = Autoregressive.ports(Autoregressive.Config(), text.spec, {})["network"]
    kind = networks.find(name)
    torch.manual_seed(0)
    built = kind(kind.preset("tiny", port.source, port.target, {}), port.source, port.target, {})
    return Model(Autoregressive(Autoregressive.Config(), {"network": built}, {}, text.spec, {}).eval(), text)


def texts(model, count=4, prefix=None, **controls):
    made = model.family.sample({}, prefix=prefix, controls=model.family.Controls(**controls), seeds=torch.arange(count))
    return [model.modality.decode(row) for row in model.modality.split_batch(made.values, made.lengths)]


def uncached(net, request):
    """The tokens of a request with a whole forward pass for each."""
    tokens, drawn = list(request.tokens), []
    numbers = uniform(torch.tensor([request.seed]), "token", (request.limit,))[0]
    for number in numbers:
        logits = _logits(net, tokens)
        drawn.append(int(logits.argmax()) if request.controls.temperature == 0 else _draw(logits, number))
        tokens.append(drawn[-1])
        if drawn[-1] == END:
            break
    return drawn


def require_equal(net, request, left, right):
    """Equal tokens, or a first difference where the network all but ties."""
    for place, (mine, its) in enumerate(zip(left, right, strict=False)):
        if mine == its:
            continue
        logits = _logits(net, [*request.tokens, *left[:place]])
        if request.controls.temperature == 0:
            assert float((logits[mine] - logits[its]).abs()) < NEAR
            return
        number = uniform(torch.tensor([request.seed]), "token", (place + 1,))[0, place]
        reached = logits.softmax(-1).cumsum(-1)
        assert abs(mine - its) == 1
        assert float((reached[min(mine, its)] - number).abs()) < NEAR
        return
    assert len(left) == len(right)


def _logits(net, tokens):
    with torch.no_grad():
        return net(torch.tensor([tokens]))[0, -1, :SIZE]


def _draw(logits, number):
    reached = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    return int(torch.searchsorted(reached, number.double() * reached[-1]))
