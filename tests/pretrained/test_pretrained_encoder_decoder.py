"""Public encoder-decoders: what transformers computes, whatever the lengths of the rows that are decoded together."""

import functools
import tempfile
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from miaobi.errors import CorruptFile, Unsupported
from miaobi.modalities._public_files import locate
from miaobi.models.public_readers import reader_section
from miaobi.pretrained._base import Kind, open_base
from miaobi.pretrained._special import special_of
from miaobi.pretrained.pretrained_encoder_decoder import PretrainedEncoderDecoder
from miaobi.types import Field, Form, Spec
from tests.support import public

KINDS = ("t5", "bart")
BEGIN = public.tokenizer("t5").token_to_id("<s>")
VOCABULARY = public.tokenizer("t5").get_vocab_size()
PORT = Spec(Form.TOKENS, vocabulary=VOCABULARY, max_length=24)
TEXT = Spec(Form.TOKENS, vocabulary=VOCABULARY, max_length=20, shared=True)
LORA = {"name": "lora", "rank": 2}
LENGTHS = torch.tensor([3, 1, 5, 2])
CASES = [pytest.param(kind, adapter, id=f"{kind}: {adapter}") for kind in KINDS for adapter in ("none", "lora")]


@functools.cache
def place(kind):
    return public.folder(kind, Path(tempfile.mkdtemp(prefix="public-")), **_biased(kind))


def _biased(kind):
    return {"tie_word_embeddings": True} if kind == "t5" else {}


def network(kind, adapter="none", folder=None, conditions=None, port=PORT, **changes):
    folder = folder or place(kind)
    base = open_base(str(folder), Kind.READING)
    section = reader_section(base, {"adapter": LORA if adapter == "lora" else None})
    options = {name: value for name, value in section.items() if name not in ("name", "architecture")} | changes
    config = PretrainedEncoderDecoder.Config.parse({"base": str(folder), **options})
    made = PretrainedEncoderDecoder(config, port, port, {"text": TEXT} if conditions is None else conditions).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return made


def read(present=None):
    values = torch.randint(4, 300, (4, 9), generator=torch.Generator().manual_seed(2))
    return {"text": Field(values, lengths=torch.tensor([9, 2, 1, 5]), present=present)}


def written(length=9):
    x = torch.randint(4, 300, (4, length), generator=torch.Generator().manual_seed(1))
    x[:, 0] = BEGIN
    return x


def told(made, present=None):
    cache = made.new_cache(4, 12)
    cache.tell(made.sources(read(present), 4))
    return cache


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers_with_its_own_special_tokens(kind):
    made, model, engine = network(kind), public.model(kind, **_biased(kind)), public.tokenizer(kind)
    before, after = (engine.token_to_id(name) for name in ("<s>", "</s>"))
    start = {"t5": [engine.token_to_id("<pad>")], "bart": [engine.token_to_id("<pad>"), before]}[kind]
    assert list(made.config.start) == start
    got = made(written(), read())
    field = read()["text"]
    for row in range(4):
        text = field.values[row, : field.lengths[row]].tolist()
        source = [*([before] if kind == "bart" else []), *text, after]
        with torch.no_grad():
            expected = model(
                input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[*start, *written()[row, 1:]]])
            ).logits[0, len(start) - 1 :]
        torch.testing.assert_close(got[row], expected, rtol=0, atol=1e-4)
    hidden = made(written(), read(), logits=False)
    torch.testing.assert_close(F.linear(hidden, made.head), got, rtol=0, atol=1e-5)


def test_a_bias_on_the_logits_is_kept(tmp_path):
    model = public.model("bart")
    torch.nn.init.normal_(model.final_logits_bias)
    model.save_pretrained(public.folder("bart", tmp_path / "biased"), safe_serialization=True)
    made, plain = network("bart", folder=tmp_path / "biased"), network("bart")
    torch.testing.assert_close(
        made(written(), read()) - plain(written(), read()),
        model.final_logits_bias.expand(4, 9, -1),
        rtol=1e-4,
        atol=1e-4,
    )


def test_several_texts_are_read_end_to_end_in_the_order_of_their_names():
    made = network("t5", conditions={"b": TEXT, "a": TEXT})
    first, second = torch.tensor([[5, 6, 7]]), torch.tensor([[8, 9]])
    end = public.tokenizer("t5").token_to_id("</s>")
    both = made.read({"b": Field(second), "a": Field(first)}, 1)
    expected = public.model("t5", **_biased("t5")).get_encoder()(torch.tensor([[5, 6, 7, end, 8, 9, end]]))
    torch.testing.assert_close(both.sequence, expected.last_hidden_state, rtol=0, atol=1e-4)
    alone = made.read({"b": Field(second, present=torch.tensor([False])), "a": Field(first)}, 1)
    assert alone.mask.sum() == 4
    assert made.read({}, 3).mask.tolist() == [[True]] * 3, "who reads nothing reads an empty text"
    absent = made.read({"a": Field(first, present=torch.tensor([False]))}, 1)
    torch.testing.assert_close(absent.sequence, made.read({}, 1).sequence)


@pytest.mark.parametrize(("kind", "adapter"), CASES)
def test_a_batch_equals_its_items_and_padding_changes_nothing(kind, adapter):
    made, x, conditions = network(kind, adapter), written(), read()
    together = made(x, conditions)
    for row in range(4):
        alone = made(x[row : row + 1], {"text": conditions["text"].select(slice(row, row + 1))})
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-4)
    mask = conditions["text"].mask()
    noisy = {"text": Field(torch.where(mask, conditions["text"].values, 9), lengths=conditions["text"].lengths)}
    torch.testing.assert_close(made(x, noisy), together)
    later = torch.where(torch.arange(9) < 6, x, 11)
    torch.testing.assert_close(made(later, conditions)[:, :6], together[:, :6], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "adapter"), CASES)
def test_cached_equals_uncached_with_rows_of_different_lengths(kind, adapter):
    made, x = network(kind, adapter), written()
    with torch.no_grad():
        full, cache = made(x, read()), told(made)
        got = [made.prefill(x[:, :5], LENGTHS, cache)]
        got += [made.step(x[torch.arange(4), LENGTHS + offset], cache) for offset in range(3)]
    for offset, logits in enumerate(got):
        torch.testing.assert_close(logits, full[torch.arange(4), LENGTHS - 1 + offset], rtol=1e-4, atol=1e-4)
    assert cache.lengths.tolist() == (LENGTHS + 3).tolist()


@pytest.mark.parametrize(("kind", "adapter"), CASES)
def test_rows_go_on_as_alone_wherever_they_are_moved(kind, adapter):
    made, x, ones = network(kind, adapter), written(), torch.ones(4, dtype=torch.int64)
    with torch.no_grad():
        full, cache, other = made(x, read()), told(made), told(made)
        made.prefill(x[:, :5], LENGTHS, cache)
        made.prefill(x[:, :1], ones, other)
        both = cache.select(torch.tensor([2, 1, 2])).join(other.select(torch.tensor([0])))
        rows, places = torch.tensor([2, 1, 2, 0]), torch.tensor([5, 1, 5, 1])
        for offset in range(2):
            got = made.step(x[rows, places + offset], both)
            torch.testing.assert_close(got, full[rows, places + offset], rtol=1e-4, atol=1e-4)
        late = cache.empty(1, 12)
        late.tell(made.sources(read(), 4)[3:])
        made.prefill(x[3:, :4], torch.tensor([4]), late)
        got = made.step(x[torch.tensor([1, 3]), torch.tensor([3, 4])], both.select(torch.tensor([1])).join(late))
    torch.testing.assert_close(got, full[torch.tensor([1, 3]), torch.tensor([3, 4])], rtol=1e-4, atol=1e-4)


def test_rows_that_are_told_nothing_read_an_empty_text():
    made, x = network("t5"), written()
    with torch.no_grad():
        got = made.prefill(x[:, :4], torch.full((4,), 4), made.new_cache(4, 9))
        torch.testing.assert_close(got, made(x, {})[:, 3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_alone_in_the_state_and_learns_while_the_base_stays(kind):
    made = network(kind, "lora")
    base = {name: tensor.clone() for name, tensor in made.base.tensors.items()}
    assert made.state_dict()
    assert all(".lora_" in name for name in made.state_dict())
    optimiser = torch.optim.SGD(made.parameters(), 0.1)
    made.train()(written(), read()).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in made.parameters())
    optimiser.step()
    assert all(torch.equal(base[name], tensor) for name, tensor in made.base.tensors.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_model_has_every_parameter_under_its_own_name(kind):
    made = network(kind, architecture=open_base(str(place(kind)), Kind.READING).config.to_dict())
    names = {name.removeprefix("trained.") for name in made.state_dict()}
    extra = {"final_logits_bias"} if kind == "bart" else set()
    assert names == {name for name, _ in public.model(kind, **_biased(kind)).named_parameters()} | extra
    held = network(kind)
    made.load_state_dict({f"trained.{name}": held.base.tensors[name] for name in names})
    torch.testing.assert_close(made(written(), read()), held(written(), read()))
    made.train()(written(), read()).square().sum().backward()
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_what_it_cannot_do_is_refused(tmp_path):
    with pytest.raises(Unsupported, match="no text with the public model's tokenizer"):
        network("t5", conditions={"kind": Spec(Form.LABEL, vocabulary=2)})
    with pytest.raises(Unsupported, match="there is none"):
        network("t5", conditions={})
    with pytest.raises(Unsupported, match="no row for"):
        network("t5", port=Spec(Form.TOKENS, vocabulary=5000, max_length=9))
    with pytest.raises(Unsupported, match="one item a row"):
        network("t5")(written(), read(), segments=torch.ones_like(written()))
    with pytest.raises(Unsupported, match="longer than what the model was made for"):
        network("bart", port=Spec(Form.TOKENS, vocabulary=VOCABULARY, max_length=public.LONGEST))
    long = Spec(Form.TOKENS, vocabulary=VOCABULARY, max_length=500, shared=True)
    network("t5", conditions={"text": long})
    with pytest.raises(Unsupported, match=r"model\.start"):
        PretrainedEncoderDecoder.preset("tiny", PORT, PORT, {"text": TEXT})
    with pytest.raises(Unsupported, match="reads one text and writes another"):
        open_base(str(public.folder("gpt2", tmp_path / "gpt2")), Kind.READING)


def test_a_base_with_other_weights_is_refused(tmp_path):
    folder = public.folder("t5", tmp_path / "base")
    held = network("t5", "lora", folder)
    public.folder("t5", folder, seed=1)
    with pytest.raises(CorruptFile, match="another checksum"):
        network("t5", "lora", folder, sha256=held.base.sha256)


def test_special_tokens_are_those_that_the_tokenizer_puts_around():
    found = {kind: special_of(locate(str(place(kind)))) for kind in KINDS}
    end, begin = (public.tokenizer("t5").token_to_id(name) for name in ("</s>", "<s>"))
    assert (found["t5"].before, found["t5"].after) == ((), (end,))
    assert (found["bart"].before, found["bart"].after) == ((begin,), (end,))
