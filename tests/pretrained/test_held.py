"""What networks around a public model share: a copy of one has its own adapter, over the same frozen weights."""

import copy

import pytest
import torch

from miaobi.pretrained.pretrained_decoder import PretrainedDecoder
from miaobi.types import Form, Spec
from tests.support.public import LONGEST, folder

pytest.importorskip("transformers", reason="the extra starter is absent")
pytest.importorskip("peft", reason="the extra tuning is absent")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_copy_is_trained_alone_and_shares_what_is_frozen(kind, tmp_path):
    port = Spec(Form.TOKENS, vocabulary=400, max_length=LONGEST)
    config = PretrainedDecoder.Config(base=str(folder(kind, tmp_path / kind)), adapter={"name": "lora", "rank": 2})
    network = PretrainedDecoder(config, port, port, {})
    twin = copy.deepcopy(network)
    tokens = torch.randint(0, 400, (2, 9), generator=torch.Generator().manual_seed(0))
    before = network(tokens)
    assert torch.equal(before, twin(tokens))
    own = {id(parameter) for parameter in network.parameters()}
    frozen = [one.data_ptr() for one in network.inner.parameters() if id(one) not in own]
    others = {id(parameter) for parameter in twin.parameters()}
    assert frozen == [one.data_ptr() for one in twin.inner.parameters() if id(one) not in others]
    assert not own & others
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert torch.equal(before, network(tokens))
    assert not torch.allclose(before, twin(tokens))
