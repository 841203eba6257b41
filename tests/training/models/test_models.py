"""The networks are the protocol's: parameters, widths, initial weights."""

from math import sqrt

import pytest
import torch

from rigl.sparsity.layers import describe
from rigl.training.models import build


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "maskable", "layers"),
    [
        ("wrn-22-2", 10, 1_079_642, 1_076_912, 23),
        ("resnet-50", 100, 23_705_252, 23_652_032, 54),
    ],
)
def test_parameter_counts(name, classes, parameters, maskable, layers):
    with torch.device("meta"):
        model = build(name, classes)
    found = describe(model)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert (sum(layer.numel for layer in found), len(found)) == (maskable, layers)


def test_lenet():
    model = build("lenet-300-100", 10, input_shape=(1, 28, 28))
    assert [layer.shape for layer in describe(model)] == [(300, 784), (100, 300), (10, 100)]


def test_small_dense_widths():
    small = {layer.name: layer.shape for layer in describe(build("wrn-22-2", 10, sqrt(0.1)))}
    assert small["stem.weight"][0] == 5
    assert [small[f"blocks.{n}.conv2.weight"][0] for n in (0, 3, 6)] == [10, 20, 40]
    narrow = {layer.name: layer.shape for layer in describe(build("resnet-50", 100, sqrt(0.1)))}
    assert narrow["conv1.weight"][0] == 20
    assert narrow["layer4.2.conv3.weight"] == (161 * 4, 161, 1, 1)
    assert narrow["fc.weight"] == (100, 644)


@pytest.mark.parametrize("factor", [0.01, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("name", ["wrn-10-1", "wrn-16-2", "resnet-50", "lenet-300-100"])
def test_every_width_runs_forward_and_back(name, factor):
    model = build(name, 7, factor, input_shape=(1, 8, 8))
    out = model(torch.randn(2, 1, 8, 8))
    out.sum().backward()
    assert out.shape == (2, 7)
    assert all(p.grad is not None for p in model.parameters())


def test_wide_resnet_initial_weights():
    torch.manual_seed(0)
    model = build("wrn-22-2", 10)
    weight = model.blocks[8].conv2.weight
    assert float(weight.detach().std()) == pytest.approx(sqrt(2 / (9 * 128)), rel=0.01)
    assert not bool(model.fc.bias.any())


def test_resnet_blocks_start_as_the_identity_of_their_shortcut():
    model = build("resnet-50", 100, 0.1)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            assert not bool(block.bn3.weight.any())
    assert model.conv1.stride == (1, 1)


def test_dropout_sits_between_the_convolutions():
    model = build("wrn-22-2", 10, dropout=0.3)
    assert [block.dropout.p for block in model.blocks] == [0.3] * 9


@pytest.mark.parametrize("name", ["wrn-21-2", "wrn-4-1", "wrn-22-0", "wrn-22", "resnet-18", "vgg"])
def test_unknown_names(name):
    with pytest.raises(
        ValueError, match=f"model='{name}' is unknown: choose lenet-300-100, resnet-50 or wrn"
    ):
        build(name, 10)


@pytest.mark.parametrize("factor", [0, -1, 1.5])
def test_width_factors_that_cannot_be(factor):
    with pytest.raises(ValueError, match="width_factor"):
        build("wrn-10-1", 10, factor)


@pytest.mark.parametrize("inputs", [3, 5, 10, 16])
def test_a_narrow_strided_shortcut_has_the_right_gradient(inputs):
    """oneDNN's strided 1x1 convolution gives wrong gradients, or crashes, on narrow channels-last input."""
    from rigl.training.models.wrn import Pointwise

    torch.manual_seed(0)
    layer = Pointwise(inputs, 10, 2).to(memory_format=torch.channels_last)
    x = torch.randn(32, inputs, 9, 9).to(memory_format=torch.channels_last).requires_grad_()
    wanted = torch.randn(32, 10, 5, 5)
    for _ in range(20):
        layer.zero_grad()
        x.grad = None
        out = layer(x)
        (out * wanted).sum().backward()
    matrix, picked = layer.weight.detach()[:, :, 0, 0], x.detach()[:, :, ::2, ::2]
    torch.testing.assert_close(out, torch.einsum("oi,nihw->nohw", matrix, picked), rtol=1e-4, atol=1e-5)
    weight_grad = torch.einsum("nohw,nihw->oi", wanted, picked)
    torch.testing.assert_close(layer.weight.grad[:, :, 0, 0], weight_grad, rtol=1e-4, atol=1e-4)
    input_grad = torch.zeros_like(x)
    input_grad[:, :, ::2, ::2] = torch.einsum("oi,nohw->nihw", matrix, wanted)
    torch.testing.assert_close(x.grad, input_grad, rtol=1e-4, atol=1e-5)
