import torch

from miaobi.families._frame import Frame
from miaobi.types import Field, Form, Spec

FRAME = Frame(10)


def test_a_sequence_stands_between_start_and_end_and_zeros_follow():
    field = Field(torch.tensor([[1, 2, 3], [4, 9, 9], [7, 7, 7]]), lengths=torch.tensor([3, 1, 0]))
    tokens, real = FRAME(field)
    assert tokens.tolist() == [[11, 1, 2, 3, 12], [11, 4, 12, 0, 0], [11, 12, 0, 0, 0]]
    assert real.tolist() == [[True] * 5, [True] * 3 + [False] * 2, [True] * 2 + [False] * 3]


def test_an_absent_one_is_as_an_empty_one():
    field = Field(torch.tensor([[1, 2], [3, 4]]), present=torch.tensor([True, False]))
    tokens, real = FRAME(field)
    assert tokens.tolist() == [[11, 1, 2, 12], [11, 12, 0, 0]]
    assert real.sum(1).tolist() == [4, 2]


def test_the_port_has_room_for_what_is_added():
    port = FRAME.port(Spec(Form.TOKENS, vocabulary=10, max_length=7))
    assert (port.vocabulary, port.max_length, FRAME.mask) == (13, 9, 10)
