"""A run on dialogues: live samples answer held-out questions, a prompt is the user's message, a dialogue goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import miaobi
from miaobi import models, training
from miaobi.errors import Unsupported
from miaobi.modalities.chat import Chat as Dialogues
from miaobi.prompting import Message
from miaobi.recipe import Recipe
from miaobi.training.opening import open_data

QUICK = {"steps": 4, "batch_size": 4, "precision": "float32", "threads": 1, "evaluate_every": 2, "tracking": []}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chats")
    rows = [{"prompt": f"What is {n} times {n % 7}?", "completion": f"{n * (n % 7)}, says {n}."} for n in range(60)]
    (folder / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {
        "modality": "chat",
        "data": {"source": str(folder / "chats.jsonl"), "clean": {"duplicates": "exact"}},
        "model": {"family": "autoregressive", "size": "tiny", "options": {"packing": True}},
        "train": QUICK,
    }
    made: Path = training.train(settings, run=folder / "run", progress=False).run
    return made


def test_live_samples_answer_held_out_questions(run: Path) -> None:
    rows = [json.loads(path.read_text())["messages"] for path in sorted((run / "samples").glob("00000004-*.jsonl"))]
    assert len(rows) == 4
    for question, answer in rows:
        assert question["role"] == "user"
        assert question["content"].startswith("What is ")
        assert answer["role"] == "assistant"


def test_a_prompt_is_the_users_message(run: Path, tmp_path: Path) -> None:
    (made,) = miaobi.generate(run, prompt="What is <|im_end|>?", controls={"max_length": 60}, out=tmp_path)
    assert made.text is not None
    assert made.path is not None
    assert made.item[0] == Message("user", "What is <|im_end|>?")
    assert [message.role for message in made.item] == ["user", "assistant"]
    assert made.text == made.item[1].content
    assert json.loads(made.path.read_text())["messages"][1]["content"] == made.text
    letter = made.text[len(made.text) // 2]
    (short,) = miaobi.generate(run, prompt="What is <|im_end|>?", controls={"max_length": 60, "stop": [letter]})
    assert short.text == made.text[: made.text.index(letter)]
    assert short.item[0] == made.item[0]


def test_a_dialogue_goes_on_with_the_run(run: Path) -> None:
    chat = miaobi.Chat(run, controls={"max_length": 5})
    pieces = list(chat.say("What is 3 times 3?"))
    assert chat.messages == [Message("user", "What is 3 times 3?"), Message("assistant", "".join(pieces))]
    assert 1 <= chat.pace.tokens <= 5


def test_scores_are_of_answers(run: Path) -> None:
    model = models.load(run)
    assert isinstance(model.modality, Dialogues)
    scores = miaobi.evaluate(run, metrics=["likelihood", "diversity.distinct_1"])
    part = open_data(Recipe.load(run)).part("test")
    answers = sum(len(item[1].content.encode()) for item in part.items(range(len(part))))
    assert scores["bits_per_byte"].protocol["detail"]["units"] == answers
    words = [word for item in part.items(range(len(part))) for word in item[1].content.replace(".", " .").split()]
    assert scores["distinct_1"].floor is not None
    assert scores["distinct_1"].floor > len(set(words)) / (2 * len(words))


def test_words_around_a_dialogue_are_refused(run: Path, tmp_path: Path) -> None:
    settings = Recipe.load(run).to_json() | {"model": {"family": "autoregressive", "prompt": {"system": "Be kind."}}}
    with pytest.raises(Unsupported, match="a dialogue says everything itself"):
        training.train(settings, run=tmp_path / "run", progress=False)
