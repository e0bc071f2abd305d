"""Publishers name their special tokens in one of several files: older ones not where newer ones do."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from miaobi.errors import DataError
from miaobi.modalities._published import open_published
from miaobi.modalities._roles import mask_of, roles_of

TEMPLATE = "{{ messages[0]['content'] }}"


@pytest.fixture(scope="module")
def engine() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>", "[MASK]"]
    made.train_from_iterator(
        ["words of it"], trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=special, show_progress=False)
    )
    return made


def found(engine, **files):
    return roles_of(engine, lambda name: files.get(name.removesuffix(".json"), {}))


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config": {"bos_token": "<s>", "eos_token": {"content": "</s>"}}},
        {"tokenizer_config": {"model_max_length": 9}, "special_tokens_map": {"bos_token": "<s>", "eos_token": "</s>"}},
        {"config": {"bos_token_id": 0, "eos_token_id": 1}},
        {"config": {"bos_token_id": 0}, "generation_config": {"eos_token_id": [1, 2]}},
        {"tokenizer_config": {"bos_token": "<s>"}, "config": {"bos_token_id": 2, "eos_token_id": 1}},
    ],
)
def test_begin_and_end_are_found_wherever_they_are_said(engine, files):
    roles = found(engine, **files)
    assert (roles.begin, roles.end) == (0, 1)


def test_a_role_that_is_said_to_be_absent_stays_absent(engine):
    roles = found(engine, tokenizer_config={"bos_token": None}, config={"bos_token_id": 0, "eos_token_id": 10**9})
    assert (roles.begin, roles.end) == (None, None)


@pytest.mark.parametrize("number", [-1, 2**32, 10**9, 7, True, "1", []])
def test_a_number_that_is_no_special_token_of_this_tokenizer_is_none(engine, number):
    """Configurations carry their architecture's defaults, which are ordinary pieces of another vocabulary."""
    assert found(engine, config={"bos_token_id": number}).begin is None


def test_nothing_more_is_read_than_is_needed(engine):
    read = []

    def files(name):
        read.append(name)
        return {"tokenizer_config.json": {"bos_token": "<s>", "eos_token": "</s>"}}.get(name, {})

    roles_of(engine, files)
    assert set(read) == {"tokenizer_config.json"}


def test_the_mask_is_the_one_said_or_the_usual_one(engine):
    assert mask_of(engine, lambda name: {}) == 2
    assert mask_of(engine, lambda name: {"mask_token": "<s>"} if name == "special_tokens_map.json" else {}) == 0


def test_of_several_templates_the_default_is_taken(engine):
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": TEMPLATE}]
    assert found(engine, tokenizer_config={"chat_template": named}).chat_template == TEMPLATE
    assert found(engine, tokenizer_config={"chat_template": named[:1]}).chat_template is None
    assert found(engine, tokenizer_config={"chat_template": TEMPLATE}).chat_template == TEMPLATE


def test_an_absurdly_long_template_is_refused(engine):
    with pytest.raises(DataError, match="too long"):
        found(engine, tokenizer_config={"chat_template": "x" * (1 << 21)})


def test_a_folder_is_read_with_its_older_files(engine, tmp_path):
    engine.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>"}))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    tokenizer = open_published(f"{tmp_path}/")
    assert (tokenizer.begin, tokenizer.end, tokenizer.chat_template) == (None, 1, TEMPLATE)


def test_a_template_that_is_no_text_is_said(engine, tmp_path):
    engine.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"cannot read .*chat_template\.jinja"):
        open_published(f"{tmp_path}/")
