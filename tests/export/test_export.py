"""What is refused before any work, where files go, and how greedy tokens and tokenizers are compared."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import miaobi
from miaobi import models
from miaobi.cli._app import run
from miaobi.errors import (
    ExportFailed,
    InvalidRecipe,
    MissingExtra,
    RunFolderError,
    SaveFailed,
    UnknownName,
    Unsupported,
)
from miaobi.export import find, source_of
from miaobi.export._compare import compare_greedy, compare_logits, draw_greedily
from miaobi.export._engine import engine_of
from miaobi.families.autoregressive import Autoregressive
from miaobi.families.infilling import Infilling
from miaobi.modalities._characters import Characters
from miaobi.models import Model
from miaobi.networks.lstm import LSTM
from tests.export.models import TEXTS, label_modality, model, text_modality
from tests.support.toys import Toy

CHARACTERS = Characters("春曉ab \n\u2581é𝄞")


@given(st.text(st.one_of(st.sampled_from("春曉ab \n\u2581é𝄞\ufffd"), st.characters(exclude_categories=["Cs"]))))
def test_the_character_engine_is_our_tokenizer(text):
    engine, ours = engine_of(CHARACTERS), CHARACTERS.encode(text)
    assert engine.encode(text).ids == ours.tolist()
    assert engine.decode(ours.tolist(), skip_special_tokens=False) == CHARACTERS.decode(ours)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_sub_word_engine_is_our_tokenizer(text):
    ours = text_modality("bpe", vocabulary=300).tokenizer
    assert engine_of(ours).encode(text, add_special_tokens=False).ids == ours.encode(text).tolist()


def test_names_that_are_taken_are_told_apart():
    text = text_modality()
    built = model(text, {"begin": label_modality(), "end": text})
    specials = source_of(built).specials
    assert len(set(specials.values())) == len(specials)
    assert set(specials) == set(range(text.spec.vocabulary, source_of(built).layout.vocabulary))


def test_the_models_own_weights_are_left_alone():
    built = model()
    source = source_of(built)
    with torch.no_grad():
        source.network.embed_tokens.weight.zero_()
    assert built.family.network.embed_tokens.weight.abs().sum() > 0


def refuse(built, match):
    with pytest.raises(Unsupported, match=match):
        miaobi.export(built, format="onnx", out="out", texts=TEXTS)
    assert not Path("out").exists()


def test_what_other_programs_do_not_compute_is_refused_with_what_could_be(monkeypatch):
    monkeypatch.setattr(find("onnx"), "packages", ())
    text = text_modality()
    ports = Autoregressive.ports(Autoregressive.Config(), text.spec, {})["network"]
    lstm = LSTM(LSTM.preset("tiny", ports.source, ports.target, {}), ports.source, ports.target, {})
    family = Autoregressive(Autoregressive.Config(), {"network": lstm}, {}, text.spec, {})
    refuse(Model(family, text), "the network lstm.*allowed: pretrained_decoder, transformer.*export a run")
    refuse(Model(Toy(), text), "only language models.*allowed: autoregressive")
    wordless = SimpleNamespace(tokenizer=None, rules=None, name="music")
    refuse(Model(model().family, wordless), "the modality music.*allowed: text")


def test_a_family_that_lays_its_sequence_out_in_another_way_is_refused(monkeypatch):
    monkeypatch.setattr(find("onnx"), "packages", ())
    built = model()
    built.family.__class__ = Infilling
    refuse(built, "the family infilling")


def test_unknown_formats_and_options_are_refused():
    with pytest.raises(UnknownName, match="did you mean gguf"):
        miaobi.export(model(), format="ggfu", out="out")
    with pytest.raises(InvalidRecipe, match="did you mean type"):
        miaobi.export(model(), format="gguf", out="out", tpye="f16")
    with pytest.raises(InvalidRecipe, match="q8_0"):
        miaobi.export(model(), format="gguf", out="out", type="q2")


def test_an_absent_package_is_told_before_any_work(monkeypatch):
    monkeypatch.setattr(find("gguf"), "packages", ("json", "a_package_that_is_absent"))
    with pytest.raises(MissingExtra, match=r"pip install 'miaobi\[export\]'"):
        miaobi.export("no-such-run", format="gguf", out="out")


def test_a_used_folder_and_a_full_disk_are_refused(monkeypatch):
    pytest.importorskip("transformers", reason="exporting needs transformers: pip install 'miaobi[export]'")
    Path("used").mkdir()
    Path("used/mine.txt").write_text("mine")
    for place in ("used", "used/mine.txt"):
        with pytest.raises(RunFolderError, match="the output folder is used"):
            miaobi.export(model(), format="transformers", out=place, texts=TEXTS)
    asked = []
    with pytest.raises(SaveFailed, match="no room for the export; given: '0 MiB free"):
        miaobi.export(
            model(), format="transformers", out="a/out", texts=TEXTS, free=lambda at: asked.append(at) or 1000
        )
    assert asked == [Path("a")]
    assert list(Path("a").iterdir()) == []
    monkeypatch.setattr(find("transformers"), "write", lambda *_: (_ for _ in ()).throw(OSError("No space left")))
    with pytest.raises(SaveFailed, match="No space left"):
        miaobi.export(model(), format="transformers", out="a/out", texts=TEXTS)
    assert list(Path("a").iterdir()) == []
    assert Path("used/mine.txt").read_text() == "mine"


def test_an_empty_folder_is_filled():
    pytest.importorskip("transformers", reason="exporting needs transformers: pip install 'miaobi[export]'")
    Path("out").mkdir()
    assert miaobi.export(model(), format="transformers", out="out", texts=TEXTS).path == Path("out")


def test_texts_to_check_on_are_bounded():
    with pytest.raises(InvalidRecipe, match="too many texts"):
        miaobi.export(model(), format="transformers", out="out", texts=["a"] * 1000)


@pytest.fixture
def drawn():
    source = source_of(model())
    prompt = [source.begin, 5, 7]
    return source, prompt, draw_greedily(source, prompt, source.logits)


def test_the_networks_own_tokens_are_equal(drawn):
    source, prompt, tokens = drawn
    assert len(tokens) == 64 or tokens[-1] == source.end
    told = compare_greedy(source, [prompt], [tokens], 1e-6)
    assert told == {"greedy_tokens": len(tokens), "near_ties": 0, "largest_gap": 0.0}


def test_another_token_is_a_near_tie_up_to_what_is_allowed(drawn):
    source, prompt, _ = drawn
    logits = source.logits(prompt)[-1].masked_fill(~source.allowed, float("-inf"))
    best, second = logits.topk(2).values.tolist()
    other = [int(logits.topk(2).indices[1])]
    other += draw_greedily(source, [*prompt, *other], source.logits)[: 64 - 1]
    gap = best - second
    assert compare_greedy(source, [prompt], [other], 1.01 * gap)["near_ties"] == 1
    with pytest.raises(ExportFailed, match="other greedy tokens"):
        compare_greedy(source, [prompt], [other], 0.99 * gap)


def test_tokens_that_are_never_drawn_and_early_stops_are_refused(drawn):
    source, prompt, tokens = drawn
    with pytest.raises(ExportFailed, match="other greedy tokens"):
        compare_greedy(source, [prompt], [[source.begin, *tokens[1:]]], 1e9)
    if source.end not in tokens:
        with pytest.raises(ExportFailed, match="stopped before its end"):
            compare_greedy(source, [prompt], [tokens[:10]], 1.0)


def test_logits_that_are_no_numbers_or_of_another_shape_are_refused(drawn):
    source, prompt, _ = drawn
    with pytest.raises(ExportFailed, match="too large"):
        compare_logits(source, [prompt], lambda tokens: source.logits(tokens) * float("nan"), 1.0)
    with pytest.raises(ExportFailed, match="another shape"):
        compare_logits(source, [prompt], lambda tokens: source.logits(tokens)[:, :-1], 1.0)


def test_the_command_gives_one_object(capfd):
    for package in ("gguf", "xllamacpp"):
        pytest.importorskip(package, reason=f"exporting gguf needs {package}: pip install 'miaobi[export]'")
    models.save(model(), Path("run/model"))
    text = ["--text", TEXTS[0], "--text", TEXTS[2]]
    assert run(["export", "run", "--format", "gguf", "--option", "type=q8_0", *text, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert list(told) == ["format", "path", "files", "checks"]
    assert told["path"] == "exported/run-gguf"
    assert told["checks"]["type"] == "q8_0"
    assert run(["export", "run", "--format", "gguf", *text]) == 2
    assert "the output folder is used" in capfd.readouterr().err
    assert run(["export", "run", "--format", "gguf", "--option", "out=x", *text]) == 2
    assert "unknown key" in capfd.readouterr().err


def test_arrays_of_a_published_tokenizer_with_gaps_are_refused(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers import models as kinds

    Tokenizer(kinds.WordLevel({"a": 0, "b": 5}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(Unsupported, match="ids have gaps"):
        source_of(model(text_modality(str(tmp_path / "tokenizer.json"))))
