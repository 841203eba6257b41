"""What is found in a model, and that looking changes nothing."""

import copy

import pytest
import torch
from torch import nn

from rigl.layers import describe
from rigl.models import build


class Shared(nn.Module):
    """One linear layer used three times, and a second that borrows its weight."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4, bias=False)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(self.one(self.one(x)))


def by_name(model, shape=None):
    return {layer.name: layer for layer in describe(model, shape)}


def test_kinds_shapes_and_positions():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 64, 5),
    )
    found = by_name(model, (3, 8, 8))
    assert {name: (row.kind, row.shape, row.positions) for name, row in found.items()} == {
        "0.weight": ("conv", (8, 3, 3, 3), 16),
        "2.weight": ("conv", (8, 1, 3, 3), 16),
        "3.weight": ("conv", (8, 4, 2, 2), 16),
        "5.weight": ("linear", (5, 256), 1),
    }


def test_other_dimensions_and_sequences():
    assert by_name(nn.Conv1d(2, 3, 5), (2, 20))["weight"].positions == 16
    assert by_name(nn.Conv3d(2, 3, 2), (2, 4, 4, 4))["weight"].positions == 27
    assert by_name(nn.Linear(6, 7), (9, 6))["weight"].positions == 9


def test_a_weight_used_often_counts_every_use():
    found = by_name(Shared(), (4,))
    assert list(found) == ["one.weight"]
    assert found["one.weight"].positions == 3


def test_without_a_shape_positions_are_unknown():
    assert by_name(nn.Linear(3, 4))["weight"].positions == 0


@pytest.mark.parametrize("training", [True, False])
def test_looking_changes_nothing(training):
    model = build("wrn-10-1", 10, dropout=0.3).train(training)
    model.register_forward_hook(lambda *_: pytest.fail("the model itself was run"))
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    hooks = [len(m._forward_hooks) for m in model.modules()]
    describe(model, (3, 32, 32))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    assert model.training is training
    assert all(p.device.type == "cpu" and p.grad is None for p in model.parameters())


def test_nothing_to_mask():
    with pytest.raises(ValueError, match="BatchNorm1d has no convolution or linear layer"):
        describe(nn.BatchNorm1d(3))


def test_agrees_with_torchs_own_counter():
    from torch.utils.flop_counter import FlopCounterMode

    from rigl.flops import forward_flops

    for name, shape in (("wrn-16-1", (3, 16, 16)), ("lenet-300-100", (1, 28, 28)), ("resnet-50", (3, 8, 8))):
        model = build(name, 10, 0.25, input_shape=shape).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, *shape))
        assert forward_flops(describe(model, shape)) == counter.get_total_flops()
