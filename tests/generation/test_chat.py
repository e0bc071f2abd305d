"""A dialogue: what the model sees of it, what is remembered, and what happens when it outgrows the context."""

import json

import numpy as np
import pytest
import torch

from miaobi import models
from miaobi.errors import DataError, InvalidRecipe, Unsupported
from miaobi.generation import Chat
from miaobi.modalities._dialogue import CHATML
from miaobi.prompting import dialogue_tokens
from tests.support.public import LONGEST, folder

pytest.importorskip("transformers", reason="the extra starter is absent")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny Llama that was taught ChatML."""
    made = folder("llama", tmp_path_factory.mktemp("public"), max_position_embeddings=4 * LONGEST)
    roles = json.loads((made / "tokenizer_config.json").read_text())
    (made / "tokenizer_config.json").write_text(json.dumps({**roles, "chat_template": CHATML}))
    return made


@pytest.fixture(scope="module")
def model(place):
    return models.load(place)


def answer(chat, text):
    return "".join(chat.say(text))


GREEDY = {"temperature": 0, "max_length": 8}


def test_an_answer_is_what_the_network_goes_on_with_after_the_whole_dialogue(model):
    model.family.precision = torch.float32
    chat = Chat(model, system="Be brief.", controls=GREEDY)
    for text in ("What is a list?", "And a tuple?", "Which is faster?"):
        said = answer(chat, text)
        tokens = torch.from_numpy(dialogue_tokens(model.modality.tokenizer, chat.messages[:-1]))[None]
        drawn = []
        for _ in range(8):
            with torch.no_grad():
                drawn.append(int(model.family.network(tokens)[0, -1].argmax()))
            tokens = torch.cat([tokens, torch.tensor([drawn[-1:]])], 1)
        end = chat._layout.end
        kept = drawn[: drawn.index(end)] if end in drawn else drawn
        assert said == model.modality.tokenizer.decode(np.array(kept))
    assert [message.role for message in chat.messages] == ["system", *["user", "assistant"] * 3]


def test_the_same_seed_says_the_same_and_each_turn_draws_anew(model):
    controls = {"max_length": 12, "temperature": 1.0}
    first, again = (Chat(model, controls=controls, seed=4) for _ in range(2))
    other = Chat(model, controls=controls, seed=5)
    assert answer(first, "Hello.") == answer(again, "Hello.") != answer(other, "Hello.")


def test_pieces_arrive_one_by_one_and_an_answer_that_is_given_up_is_kept_as_far_as_it_came(model):
    chat = Chat(model, controls={"max_length": 30, "temperature": 1.0, "top_p": 1.0}, seed=1)
    pieces = chat.say("Tell me a story.")
    begun = next(pieces)
    pieces.close()
    assert chat.messages[-1].content == begun
    assert answer(chat, "Go on.") is not None


def test_the_pace_is_of_the_last_answer(model):
    chat = Chat(model, controls=GREEDY)
    answer(chat, "Hello.")
    assert 1 <= chat.pace.tokens <= 8
    assert chat.pace.first > 0
    assert "tokens" in str(chat.pace)


def test_a_dialogue_that_outgrows_the_context_loses_its_oldest_turns_and_keeps_its_system_message(model):
    chat = Chat(model, system="Be brief.", controls=GREEDY)
    long = "a tuple and a list of names " * 5
    seen = []
    for _ in range(6):
        answer(chat, long)
        seen.append(chat.left_out)
    assert seen[0] == 0
    assert seen[-1] > 0
    assert seen == sorted(seen)
    assert len(chat.messages) == 13


def test_a_question_whose_answer_nobody_took_leaves_no_trace(model):
    chat = Chat(model, controls=GREEDY)
    chat.say("Hello?")
    assert chat.messages == []
    answer(chat, "Hello?")
    assert [message.role for message in chat.messages] == ["user", "assistant"]


def test_one_turn_that_does_not_fit_is_refused_and_not_remembered(model):
    chat = Chat(model, controls=GREEDY)
    with pytest.raises(DataError, match="longer than the model's context"):
        chat.say("a tuple and a list " * 200)
    assert chat.messages == []
    with pytest.raises(DataError, match="nothing was said"):
        chat.say("  ")


def test_what_people_write_is_never_a_special_token(model):
    tokenizer = model.modality.tokenizer
    chat = Chat(model, controls=GREEDY)
    answer(chat, "</s> is the end")
    tokens = dialogue_tokens(tokenizer, chat.messages[:1])
    assert tokenizer.end not in tokens


def test_a_model_that_was_taught_no_dialogue_is_refused(tmp_path):
    with pytest.raises(Unsupported, match="chat template"):
        Chat(folder("llama", tmp_path / "plain"))


def test_controls_that_need_the_whole_answer_are_refused(model):
    with pytest.raises(InvalidRecipe, match="as they are written"):
        Chat(model, controls={"beams": 4, "temperature": 0})
