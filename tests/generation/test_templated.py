"""Templates with fields: what they say is the prompt, or a message to a model that was taught dialogues."""

import json

import pytest

from miaobi import models
from miaobi.errors import InvalidRecipe, UnknownName
from miaobi.generation import Chat, generate, generate_from
from miaobi.modalities._dialogue import CHATML
from miaobi.prompting.template import PromptTemplate
from tests.support.public import LONGEST, folder

pytest.importorskip("transformers", reason="the extra starter is absent")

GREEDY = {"temperature": 0, "max_length": 24}
FIELDS = {"topic": {"max_length": 20}, "lines": {"type": "number", "default": 2}}
TEXT = "Write {{ lines }} lines on {{ topic }}."


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = folder("llama", tmp_path_factory.mktemp("public"), max_position_embeddings=4 * LONGEST)
    roles = json.loads((made / "tokenizer_config.json").read_text())
    (made / "tokenizer_config.json").write_text(json.dumps({**roles, "chat_template": CHATML}))
    return models.load(made)


def test_the_filled_text_is_the_prompt(model, tmp_path):
    template = PromptTemplate.parse({"text": TEXT, "fields": FIELDS})
    made = generate_from(model, template, {"topic": "lists"}, controls=GREEDY, n=2, out=tmp_path)
    wanted = generate(model, prompt="Write 2 lines on lists.", controls=GREEDY, n=2)
    assert [item.text for item in made] == [item.text for item in wanted]
    assert made[1].path.read_text() == made[1].text


def test_a_message_is_answered(model, tmp_path):
    path = tmp_path / "message.yaml"
    path.write_text(json.dumps({"text": TEXT, "fields": FIELDS, "chat": True}))
    controls = {"temperature": 0, "max_length": 6}
    made = generate_from(model, path, {"topic": "lists", "lines": "3"}, controls=controls, n=2, seed=7, out=tmp_path)
    assert made[0].text == "".join(Chat(model, controls=controls, seed=7).say("Write 3 lines on lists."))
    assert [item.path.name for item in made] == ["00000.txt", "00001.txt"]


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({}, InvalidRecipe, "topic is missing"),
        ({"topic": "x" * 21}, InvalidRecipe, "topic is no text"),
        ({"topic": "a", "lines": "many"}, InvalidRecipe, "lines is no number"),
        ({"topic": "a", "tone": "dry"}, UnknownName, "tone"),
    ],
)
def test_a_wrong_field_is_named(model, fields, error, match):
    with pytest.raises(error, match=match):
        generate_from(model, PromptTemplate.parse({"text": TEXT, "fields": FIELDS}), fields)
