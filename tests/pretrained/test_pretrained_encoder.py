"""Public encoders: what transformers computes for a text as its tokenizer frames it, masked, pooled or read last."""

import functools
import tempfile
from pathlib import Path

import pytest
import torch
import transformers
from torch.nn import functional as F

from miaobi.errors import CorruptFile, Unsupported
from miaobi.families._frame import Frame
from miaobi.modalities._public_files import locate
from miaobi.pretrained._base import Kind
from miaobi.pretrained._special import special_of
from miaobi.pretrained.pretrained_encoder import PretrainedEncoder
from miaobi.types import Field, Form, Spec, vector_spec
from tests.support import public

VOCABULARY = public.tokenizer("bert").get_vocab_size()
WORDS = Spec(Form.TOKENS, vocabulary=VOCABULARY, max_length=12)
FRAME = Frame(VOCABULARY)
LORA = {"name": "lora", "rank": 2}
TEXTS = ("the value of each name", "", "for", "a longer text that is read to its very end")


@functools.cache
def place(kind):
    return public.folder(kind, Path(tempfile.mkdtemp(prefix="public-")))


def network(kind, opened=Kind.ENCODING, target=None, folder=None, length=48, **changes):
    folder = folder or place(kind)
    special = special_of(locate(str(folder)))
    source = FRAME.port(Spec(Form.TOKENS, vocabulary=VOCABULARY, max_length=length))
    config = PretrainedEncoder.Config(
        base=str(folder), kind=opened, before=special.before, after=special.after, mask=special.mask, **changes
    )
    made = PretrainedEncoder(config, source, source if target is None else target, {}).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return made


def encoded(kind):
    """The texts as transformers reads them: with all special tokens, padded on the right."""
    engine = public.tokenizer(kind)
    rows = [torch.tensor(engine.encode(text).ids, dtype=torch.int64) for text in TEXTS]
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return tokens, torch.arange(tokens.shape[1])[None] < lengths[:, None]


def field():
    rows = [torch.tensor(public.tokenizer("gpt2").encode(text).ids, dtype=torch.int64) for text in TEXTS]
    values = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Field(values, lengths=torch.tensor([len(row) for row in rows]))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_masked_logits_are_those_of_transformers(kind):
    made = network(kind, Kind.MASKED)
    tokens, real = FRAME(field())
    theirs, mask = encoded(kind)
    with torch.no_grad():
        expected = public.model(kind)(input_ids=theirs, attention_mask=mask.long()).logits
    got = made(tokens, real=real)
    assert got.shape == (4, tokens.shape[1], VOCABULARY + 3)
    torch.testing.assert_close(got[real][:, :VOCABULARY], expected[mask], rtol=0, atol=1e-4)
    torch.testing.assert_close(F.linear(made(tokens, real=real, logits=False), made.head), got, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_hidden_token_is_the_models_own_mask(kind):
    made = network(kind, Kind.MASKED)
    tokens, real = FRAME(field())
    shown, hidden = tokens.clone(), tokens.clone()
    hidden[0, 2] = FRAME.mask
    shown[0, 2] = public.tokenizer(kind).token_to_id("<mask>")
    assert torch.equal(made(hidden, real=real), made(shown, real=real))
    assert not torch.equal(made(hidden, real=real), made(tokens, real=real))


def test_a_vector_is_the_mean_over_what_is_real():
    made = network("bert", target=vector_spec(3))
    tokens, mask = encoded("bert")
    with torch.no_grad():
        states = public.model("bert").bert(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        means = torch.stack([row[real].mean(0) for row, real in zip(states, mask, strict=True)])
        torch.testing.assert_close(call(made), made.output(means), rtol=1e-4, atol=1e-4)


def call(made):
    tokens, real = FRAME(field())
    return made(tokens, real=real)


def test_a_causal_model_is_read_at_its_last_position_as_transformers_does():
    made = network("llama", target=vector_spec(3))
    assert made.causal
    model = transformers.LlamaForSequenceClassification.from_pretrained(place("llama"), num_labels=3).eval()
    with torch.no_grad():
        model.score.weight.copy_(made.output.linear.weight)
    for row, text in enumerate(TEXTS):
        ids = public.tokenizer("llama").encode(text).ids or [public.tokenizer("llama").token_to_id("<pad>")]
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0, -1]
        torch.testing.assert_close(call(made)[row], made.output(hidden[None])[0], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        expected = model(torch.tensor([public.tokenizer("llama").encode(TEXTS[0]).ids])).logits[0]
    torch.testing.assert_close(call(made)[0] - made.output.linear.bias, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "target"), [("bert", None), ("roberta", vector_spec(2)), ("gpt2", vector_spec(2))])
def test_padding_and_neighbours_change_nothing(kind, target):
    made = network(kind, Kind.MASKED if target is None else Kind.ENCODING, target)
    tokens, real = FRAME(field())
    noisy = torch.where(real, tokens, 7)
    together = made(noisy, real=real)
    for row, length in enumerate(real.sum(1).tolist()):
        alone = made(tokens[row : row + 1, :length])[0]
        got = together[row, :length] if target is None else together[row]
        torch.testing.assert_close(got, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "opened"), [("bert", Kind.MASKED), ("bert", Kind.ENCODING), ("gpt2", Kind.ENCODING)])
def test_the_state_has_the_adapter_and_a_fresh_head_alone_and_the_base_never_changes(kind, opened):
    target = None if opened is Kind.MASKED else vector_spec(2)
    made = network(kind, opened, target, adapter=LORA)
    base = {name: tensor.clone() for name, tensor in made.base.tensors.items()}
    names = set(made.state_dict())
    fresh = {"output.linear.weight", "output.linear.bias"} if target else set()
    assert fresh < names
    assert all(name in fresh or ".lora_" in name for name in names)
    assert not any("pooler" in name for name in names)
    optimiser = torch.optim.SGD(made.parameters(), 0.1)
    call(made.train()).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in made.parameters())
    optimiser.step()
    call(made.eval())
    assert all(torch.equal(base[name], tensor) for name, tensor in made.base.tensors.items())
    assert made.borrowed > sum(parameter.numel() for parameter in made.parameters())


def test_a_fresh_second_map_changes_nothing():
    plain, source = network("bert", Kind.MASKED), FRAME.port(WORDS)
    made = PretrainedEncoder(plain.config.model_copy(update={"adapter": _lora()}), plain.source, plain.source, {})
    torch.testing.assert_close(call(made.eval()), call(plain))
    assert source.vocabulary == plain.source.vocabulary


def _lora():
    return PretrainedEncoder.Config(base="x", adapter=LORA).adapter


def test_a_whole_model_has_every_parameter_under_its_own_name(tmp_path):
    base = network("bert", Kind.MASKED)
    made = network("bert", Kind.MASKED, architecture=base.inner.config.to_dict())
    assert made.base is None
    names = {name.removeprefix("trained.") for name in made.state_dict()}
    assert names == {name for name, _ in public.model("bert").named_parameters()}
    made.load_state_dict({f"trained.{name}": base.base.tensors[name] for name in names})
    torch.testing.assert_close(call(made), call(base))
    call(made.train()).square().mean().backward()
    idle = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_a_base_with_other_weights_is_refused(tmp_path):
    folder = public.folder("bert", tmp_path / "base")
    held = network("bert", folder=folder, target=vector_spec(2), adapter=LORA)
    public.folder("bert", folder, seed=1)
    with pytest.raises(CorruptFile, match="another checksum"):
        network("bert", folder=folder, target=vector_spec(2), adapter=LORA, sha256=held.base.sha256)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_texts_may_be_as_long_as_the_model_was_made_for_and_no_longer(kind):
    # Two special tokens stand around; and RoBERTa leaves as many positions out as its padding's number is, and one.
    fits = {"bert": public.LONGEST - 2, "roberta": public.LONGEST + 1 - 2, "gpt2": public.LONGEST}[kind]
    made = network(kind, target=vector_spec(2), length=fits)
    full = torch.full((1, fits), 9)
    tokens, real = FRAME(Field(full))
    assert torch.isfinite(made(tokens, real=real)).all()
    with pytest.raises(Unsupported, match="longer than what the model was made for"):
        network(kind, target=vector_spec(2), length=fits + 1)


def test_what_it_cannot_do_is_refused():
    made = network("bert", target=vector_spec(2))
    config, source = made.config, made.source
    with pytest.raises(Unsupported, match="reads one text"):
        PretrainedEncoder(config, source, vector_spec(2), {"kind": Spec(Form.LABEL, vocabulary=2)})
    with pytest.raises(Unsupported, match="one vector"):
        PretrainedEncoder(config, source, Spec(Form.TENSOR, 1, (4,)), {})
    with pytest.raises(Unsupported, match="no mask token"):
        PretrainedEncoder(config.model_copy(update={"mask": None}), source, source, {})
    large = Spec(Form.TOKENS, vocabulary=5000, max_length=9)
    with pytest.raises(Unsupported, match="no row for"):
        PretrainedEncoder(config, large, vector_spec(2), {})
    with pytest.raises(Unsupported, match=r"model\.start"):
        PretrainedEncoder.preset("tiny", source, source, {})
