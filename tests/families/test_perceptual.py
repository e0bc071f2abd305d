import pytest
import torch
import torch.nn.functional as F

from miaobi.families._perceptual import PatchCritic, multi_scale_difference
from miaobi.types import Form, Spec
from tests.support.tensors import SPACES

every_space = pytest.mark.parametrize("space", [*SPACES.values(), (1, 5)], ids=str)


def pictures(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@every_space
def test_the_difference_is_nought_for_equals_and_symmetric(space):
    x, y = pictures(3, 2, *space), pictures(3, 2, *space, seed=1)
    assert torch.equal(multi_scale_difference(x, x), torch.zeros(3))
    torch.testing.assert_close(multi_scale_difference(x, y), multi_scale_difference(y, x))
    torch.testing.assert_close(multi_scale_difference(x, y)[1:2], multi_scale_difference(x[1:2], y[1:2]))


def test_blurring_costs_more_than_a_shift_of_brightness_of_equal_error():
    x = pictures(4, 1, 16, 16)
    blurred = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    shifted = x + (blurred - x).abs().mean()
    assert multi_scale_difference(x, blurred).mean() > 1.2 * multi_scale_difference(x, shifted).mean()


@every_space
def test_a_critic_scores_patches_of_any_space_item_by_item(space):
    torch.manual_seed(0)
    critic = PatchCritic(Spec(Form.TENSOR, 2, space), 4)
    x, y = pictures(3, 2, *space), pictures(3, 2, *space, seed=1)
    assert critic(x).shape[0] == 3
    torch.testing.assert_close(critic.against(x, y)[1:2], critic.against(x[1:2], y[1:2]))
    torch.testing.assert_close(critic.fooled(y), -critic(y).mean(1))


def test_a_critic_learns_to_tell_and_then_can_be_fooled():
    torch.manual_seed(0)
    critic = PatchCritic(Spec(Form.TENSOR, 1, (8, 8)), 8)
    x = pictures(32, 1, 8, 8)
    fake = F.avg_pool2d(x, 3, stride=1, padding=1)
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        critic.against(x, fake).mean().backward()
        optimiser.step()
    assert critic.against(x, fake).mean() < 0.2
    assert critic.fooled(x).mean() < critic.fooled(fake).mean()
