"""Cutting dead channels out: the same outputs from fewer weights, whatever is between the layers."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import prune

from rigl import Sparsifier, compact
from rigl.sparsity.layers import maskable
from rigl.training.models import build


class Vgg(nn.Module):
    """Convolutions with biases, functional pooling and a flattened image, as people write it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.conv3 = nn.Conv2d(12, 12, 3)
        self.fc1 = nn.Linear(12 * 4, 20)
        self.norm1 = nn.BatchNorm1d(20)
        self.fc2 = nn.Linear(20, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(F.leaky_relu(self.norm(self.conv2(x))), 2)
        x = F.dropout(torch.tanh(self.conv3(x)), 0.5, self.training)
        x = x.view(x.size(0), -1)
        return self.fc2(self.norm1(self.fc1(x)).sigmoid())


def bare():
    """No batch norm; padding of every kind; a flattened image whose features are normalised each."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.ReLU(inplace=True)),
        *(nn.Conv2d(8, 8, 3, padding="same", padding_mode="reflect"), nn.MaxPool2d(2, padding=1), nn.GELU()),
        *(nn.Flatten(), nn.BatchNorm1d(72), nn.Dropout(), nn.Linear(72, 4, bias=False)),
    )


def linear():
    return nn.Sequential(
        nn.Linear(6, 10), nn.ELU(), nn.Linear(10, 10, bias=False), nn.ReLU(), nn.Linear(10, 3)
    )


# What makes the network, the image it is compacted for, and the others it must then take.
NETS = {
    "wrn-10-1": (lambda: build("wrn-10-1", 10, dropout=0.3), (3, 8, 8), [(3, 1, 1), (3, 13, 16)]),
    "wrn-16-2": (lambda: build("wrn-16-2", 10), (3, 9, 9), [(3, 16, 16)]),
    "resnet-50": (lambda: build("resnet-50", 10, 0.125), (3, 4, 4), [(3, 9, 7)]),
    "lenet-300-100": (lambda: build("lenet-300-100", 10, input_shape=(1, 8, 8)), (1, 8, 8), []),
    "vgg": (Vgg, (3, 16, 16), []),
    "bare": (bare, (3, 6, 6), []),
    "linear": (linear, (6,), []),
}


def randomise(model, seed, dead=0.6):
    """Random biases and batch norm of either sign, and output channels set to 0, each with chance `dead`."""
    generator = torch.Generator().manual_seed(seed)

    def fill(tensor, low, high):
        if tensor is not None:
            tensor.uniform_(low, high, generator=generator)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                fill(module.weight, -1.5, 1.5)
                fill(module.bias, -0.5, 0.8)
                fill(module.running_mean, -0.5, 0.5)
                fill(module.running_var, 0.3, 2)
        for _, module, weight, *_ in maskable(model)[:-1]:
            fill(module.bias, -0.5, 0.5)
            weight[torch.rand(len(weight), generator=generator) < dead] = 0
    return model.eval()


def made(name, seed, dead=0.6):
    torch.manual_seed(seed)
    return randomise(NETS[name][0](), seed, dead)


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def difference(first, second, shape, batch=3):
    """The largest difference of outputs over the largest output."""
    dtype = next(first.parameters()).dtype
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    expected, got = first(x), second(x)
    assert expected.shape == got.shape
    return float((expected - got).abs().max() / expected.abs().max())


def check(model, shape, others=()):
    """Compact in float32 and in float64, where only an exact rule comes out exact; the float32 copy."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    double = copy.deepcopy(model).double()
    small, exact = compact(model, shape), compact(double, shape)
    for other in (shape, *others):
        for batch in (1, 4):
            assert difference(model, small, other, batch) < 1e-5
            assert difference(double, exact, other, batch) < 1e-11
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    # Nothing is left to cut; but of two channels that carry constants one may do, with the largest gone.
    again = shapes(compact(small, shape))
    for key, lengths in shapes(small).items():
        assert all(0 <= was - now <= 1 for was, now in zip(lengths, again[key], strict=True)), key
    return small


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=3)
@given(seed=st.integers(0, 10**6), dead=st.sampled_from([0.2, 0.6, 0.9]))
def test_same_outputs_from_fewer_weights(name, seed, dead):
    model = made(name, seed, dead)
    _, shape, others = NETS[name]
    small = check(model, shape, others)
    if dead > 0.2:
        assert size(small) < size(model)


def test_what_carries_constants_is_cut_when_another_will_do():
    _, shape, others = NETS["wrn-10-1"]
    check(made("wrn-10-1", 7055, 0.9), shape, others)


@pytest.mark.parametrize("name", NETS)
def test_nothing_dead_nothing_cut(name):
    model = made(name, 0, dead=0)
    small = compact(model, NETS[name][1])
    assert shapes(small) == shapes(model)
    assert all(torch.equal(t, small.state_dict()[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-50", "vgg"])
def test_everything_dead_leaves_one_channel(name):
    model = made(name, 0, dead=1)
    small = check(model, NETS[name][1])
    widths = [len(weight) for _, _, weight, *_ in maskable(small)[:-1]]
    assert set(widths) <= {1, 2, 3}, "one, and what carries constants"
    assert 1 in widths


def kill(layer, *channels):
    with torch.no_grad():
        layer.weight[list(channels)] = 0


def chain(constant, **options):
    """conv, batch norm, relu, conv; channels 1 and 3 of the first are dead and send on `constant`."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, bias=False, **options),
    ).eval()
    kill(model[0], 1, 3)
    nn.init.constant_(model[1].bias, constant)
    return model


def test_a_constant_without_a_border_goes_into_the_bias():
    for options in ({}, {"padding": 1, "padding_mode": "circular"}):
        small = check(chain(0.7, **options), (3, 5, 5), [(3, 8, 7)])
        assert small[0].weight.shape == (4, 3, 3, 3)
        assert small[3].weight.shape == (4, 4, 3, 3)
        assert small[3].bias.shape == (4,)
        assert small[1].num_features == small[0].out_channels == small[3].in_channels == 4


def test_a_constant_that_ends_at_the_border_keeps_one_carrier():
    small = check(chain(0.7, padding=1), (3, 1, 1), [(3, 8, 7)])
    assert small[3].weight.shape == (4, 5, 3, 3)
    assert small[3].bias is None


def test_what_reads_only_constants_still_differs_at_the_border():
    model = chain(0.7, padding=1).append(nn.ReLU()).append(nn.Conv2d(4, 4, 3)).eval()
    with torch.no_grad():
        model[3].weight[2, [0, 2, 4, 5]] = 0
    assert check(model, (3, 6, 6))[3].weight.shape == (4, 5, 3, 3)


def test_no_constant_no_carrier():
    small = check(chain(-0.7, padding=1), (3, 5, 5))
    assert small[3].weight.shape == (4, 4, 3, 3)
    assert small[3].bias is None


class TwoReaders(nn.Module):
    """Two batch norms read one stream; the channels they leave a constant in are given."""

    def __init__(self, first, second):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.conv1, self.conv2 = (nn.Conv2d(6, 2, 3, padding=1, bias=False) for _ in range(2))
        kill(self.stem, 0, 1, 2)
        for norm, constants in ((self.bn1, first), (self.bn2, second)):
            nn.init.constant_(norm.bias, -0.3)
            for channel in constants:
                nn.init.constant_(norm.bias[channel], 0.5 + channel / 10)

    def forward(self, x):
        x = self.stem(x)
        return self.conv1(F.relu(self.bn1(x))) + self.conv2(F.relu(self.bn2(x)))


@pytest.mark.parametrize(
    ("first", "second", "carriers"), [([0], [1], 2), ([0, 1], [1, 2], 1), ([2], [], 1), ([], [], 0)]
)
def test_readers_share_a_carrier_where_they_can(first, second, carriers):
    torch.manual_seed(0)
    small = check(TwoReaders(first, second).eval(), (3, 5, 5))
    assert small.stem.out_channels == 3 + carriers


def test_a_difference_that_almost_cancels_is_no_carrier():
    """It would serve both readers, but float32 knows it to a few digits only."""
    torch.manual_seed(0)
    model = TwoReaders([0, 1], [1]).eval()
    nn.init.constant_(model.bn1.running_mean[1], 0.6)
    with torch.no_grad():
        model.bn1.bias[1] = 0.6 / (1 + 1e-5) ** 0.5 + 3e-7
    assert check(model, (3, 5, 5)).stem.out_channels == 5


def stack():
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(4))).eval()


def widths(model):
    return [module.out_channels for module in model if isinstance(module, nn.Conv2d)]


def test_dead_because_all_that_feeds_it_is():
    model = stack()
    kill(model[0], 0, 1)
    with torch.no_grad():
        model[1].weight[2, 2:] = 0  # reads only what is dead
        model[2].weight[3, [0, 1, 3]] = 0  # and this only that
    assert widths(check(model, (4, 5, 5))) == [2, 3, 3, 4]


def test_dead_because_all_that_reads_it_is():
    model = stack()
    kill(model[2], 0, 1)
    with torch.no_grad():
        model[2].weight[2:, 3] = 0  # so only dead channels read channel 3
        model[1].weight[:3, 2] = 0  # and only that this
    assert widths(check(model, (4, 5, 5))) == [3, 3, 2, 4]


def test_dead_because_batch_norm_multiplies_by_0():
    model = chain(0.7)
    with torch.no_grad():
        model[1].weight[5] = 0
    assert check(model, (3, 5, 5))[0].out_channels == 3


def test_a_residual_channel_needs_every_branch_dead():
    model = made("wrn-16-2", 0, dead=0)
    first, second = model.blocks[0], model.blocks[1]  # block 1 adds to what block 0 and its shortcut make
    kill(first.conv2, 0, 1, 2)
    kill(first.shortcut, 1, 2, 3)
    kill(second.conv2, 2, 3, 4)
    for norm in (second.bn1, model.blocks[2].bn1):
        nn.init.constant_(norm.bias, -10)  # no constants
    small = check(model, (3, 8, 8))
    assert small.blocks[0].conv2.out_channels == 31
    assert small.blocks[1].conv2.out_channels == 31
    assert small.blocks[2].shortcut.in_channels == 31
    kill(first.conv2, 3)
    assert check(model, (3, 8, 8)).blocks[1].bn1.num_features == 30


class Reader(nn.Module):
    """One layer, then something to read it, named in READERS, then another layer."""

    def __init__(self, between, out=8):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.square = nn.Conv2d(8, 8, 1)
        self.batch_norm = nn.BatchNorm2d(8)
        self.token = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.rand(8, 1, 1))
        self.norm = nn.GroupNorm(2, 8)
        self.between = between
        self.wide = nn.Linear(288, 288)
        self.last = nn.Conv2d(out, 4, 1) if out < 288 else nn.Linear(out, 4)

    def forward(self, x):
        return self.last(self.between(self, self.conv(x)))


READERS = {
    "cat": (lambda m, x: torch.cat([x, x], 1), 16),
    "grouped": (lambda m, x: m.depthwise(x), 8),
    "linear on images": (lambda m, x: m.token(x), 8),
    "layer used twice": (lambda m, x: m.square(F.relu(m.square(x))), 8),
    "norm used twice": (lambda m, x: m.batch_norm(F.relu(m.batch_norm(x))), 8),
    "weight used twice": (lambda m, x: F.conv2d(x, m.square.weight) + m.square(x), 8),
    "unknown parameter": (lambda m, x: x * m.scale, 8),
    "group norm": (lambda m, x: m.norm(x), 8),
    "softmax": (lambda m, x: x.softmax(1), 8),
    "other view": (lambda m, x: x.view(x.shape[0], 8, -1).view(-1, 8, 6, 6), 8),
    "view of a given width": (lambda m, x: x.view(x.shape[0], 288), 288),
    "sum of unlike channels": (lambda m, x: x.flatten(1) + m.wide(x.flatten(1)), 288),
    "transposed": (lambda m, x: x.transpose(2, 3), 8),
    "padded average": (lambda m, x: F.avg_pool2d(x, 3, 1, 1), 8),
    "mean over channels": (lambda m, x: x - x.mean(1, keepdim=True), 8),
    "mean channel": (lambda m, x: x.mean(1, keepdim=True), 1),
    "mean of everything": (lambda m, x: x * x.mean(), 8),
    "mean over the batch": (lambda m, x: x - x.mean(0, keepdim=True), 8),
    "all of its shape": (lambda m, x: x * x.shape[1], 8),
}


@pytest.mark.parametrize("name", READERS)
def test_what_reads_a_channel_in_an_unknown_way_keeps_it(name):
    torch.manual_seed(0)
    model = Reader(*READERS[name]).eval()
    kill(model.conv, 0, 3, 4)
    assert check(model, (3, 6, 6)).conv.out_channels == 8


def test_an_input_channel_that_nothing_reads_stays():
    model = chain(0.7)
    with torch.no_grad():
        model[0].weight[:, 1] = 0
    assert check(model, (3, 5, 5))[0].weight.shape == (4, 3, 3, 3)


PASSING = {
    "in place": lambda m, x: (y := x * 2, y.add_(x), F.relu_(y), y)[-1],
    "product": lambda m, x: x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1)),
    "difference": lambda m, x: F.hardtanh(x) - x.clamp(0, 1) + 3,
    "mean": lambda m, x: x.mean((-1, 2), keepdim=True),
    "padded maximum": lambda m, x: F.max_pool2d(x, 3, 1, 1).contiguous(),
    "unpadded average": lambda m, x: F.adaptive_max_pool2d(F.avg_pool2d(x, 2), (2, 1)),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_a_channel_on_is_cut_through(name):
    torch.manual_seed(0)
    model = Reader(PASSING[name]).eval()
    kill(model.conv, 0, 3, 4)
    assert check(model, (3, 6, 6)).conv.out_channels == 5


def test_an_operation_in_place_counts_for_those_who_read_its_input_later():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = (nn.Conv2d(3, 8, 1, bias=False) for _ in range(2))
            self.last = nn.Conv2d(8, 4, 3)

        def forward(self, x):
            stream = self.first(x)
            stream.add_(self.second(x)).add_(1)
            F.elu_(stream)
            return self.last(stream)

    torch.manual_seed(0)
    model = Net().eval()
    kill(model.first, 0, 1, 2)
    kill(model.second, 2, 3, 4, 5)
    small = check(model, (3, 5, 5))
    assert small.first.out_channels == small.second.out_channels == small.last.in_channels == 7


def data(steps, batch=16):
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        y = torch.randint(0, 10, (batch,), generator=generator)
        yield torch.randn(batch, 3, 8, 8, generator=generator) + y.view(-1, 1, 1, 1) / 5, y


def train(model, steps, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    sparsifier = Sparsifier(model, optimizer, total_steps=steps, delta_t=4, **options) if options else None
    losses = []
    for x, y in data(steps):
        loss = F.cross_entropy(model.train()(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sparsifier, losses


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = build("wrn-16-2", 10)
    sparsifier, _ = train(model, 24, method="rigl-struct", density=0.2, input_shape=(3, 8, 8))
    assert sparsifier.update_count >= 4
    return model, sparsifier


def test_a_network_trained_by_rigl_struct(trained):
    model, sparsifier = trained
    small = compact(model, (3, 8, 8))
    assert small.training
    assert difference(model.eval(), small.eval(), (3, 16, 16)) < 1e-5
    model.train()
    for index, block in enumerate(small.blocks):
        live = int(sparsifier.masks[f"blocks.{index}.conv1.weight"].flatten(1).any(1).sum())
        assert live < model.blocks[index].conv1.out_channels
        assert block.conv1.out_channels <= live + 1, "at most what carries constants"
        assert block.conv2.in_channels == block.bn2.num_features == block.conv1.out_channels
    assert size(small) < 0.5 * size(model)
    assert not any(
        hooks
        for module in small.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    )
    assert not [name for name, _ in small.named_buffers() if "mask" in name]


def test_the_copy_trains_on(trained):
    small = compact(trained[0], (3, 8, 8))
    assert all(parameter.requires_grad for parameter in small.parameters())
    before = {name: parameter.clone() for name, parameter in small.named_parameters()}
    losses, (x, y) = [], next(iter(data(1)))
    optimizer = torch.optim.SGD(small.parameters(), lr=0.05, momentum=0.9)
    for _ in range(30):  # the same batch again and again
        optimizer.zero_grad()
        loss = F.cross_entropy(small.train()(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert not any(torch.equal(parameter, before[name]) for name, parameter in small.named_parameters())
    sparsifier, _ = train(small, 8, method="rigl", density=0.5)
    assert sparsifier.update_count


def test_unstructured_zeros_empty_channels_too():
    model = made("lenet-300-100", 0, dead=0)
    Sparsifier(
        model, torch.optim.SGD(model.parameters(), 0.1), method="static", density=0.01, total_steps=1, seed=1
    )
    empty = int((~model.fc1.weight.any(1)).sum())
    assert empty
    small = check(model, (1, 8, 8))
    assert small.fc1.out_features <= 300 - empty


def test_the_argument_and_the_random_state_stay():
    model = made("wrn-10-1", 0).train()
    model.stem.weight.requires_grad_(False)
    model.to(memory_format=torch.channels_last)
    calls = []
    model.fc.register_forward_hook(lambda *_: calls.append(1))
    model.register_full_backward_hook(lambda *_: calls.append(1))
    model(torch.randn(2, 3, 8, 8, requires_grad=True)).sum().backward()
    before, seen, state = shapes(model), len(calls), torch.get_rng_state()
    small = compact(model, (3, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert len(calls) == seen
    assert len(model.fc._forward_hooks) == len(model._backward_hooks) == 1
    assert not small.fc._forward_hooks
    assert not small._backward_hooks
    assert shapes(model) == before
    assert small.training
    assert type(small) is type(model)
    assert size(small) < size(model)
    assert not small.stem.weight.requires_grad
    for block in small.blocks:
        assert block.conv1.weight.requires_grad
        assert block.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert not {id(t) for t in small.parameters()} & {id(t) for t in model.parameters()}


def test_low_precision_and_compiled_models():
    model = made("wrn-10-1", 3)
    small = compact(model.to(torch.bfloat16), (3, 8, 8))
    assert {parameter.dtype for parameter in small.parameters()} == {torch.bfloat16}
    assert type(compact(torch.compile(model), (3, 8, 8))) is type(model)


def untraceable():
    class Net(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    return Net(), (3, 4, 4)


def parametrised():
    model = linear()
    nn.utils.parametrizations.weight_norm(model[0])
    return model, (6,)


def pruned():
    model = linear()
    prune.random_unstructured(model[0], "weight", 0.5)
    return model, (6,)


def diverged():
    model = linear()
    nn.init.constant_(model[2].weight, float("nan"))
    return model, (6,)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (untraceable, "cannot be traced"),
        (lambda: (linear(), (5,)), r"cannot be traced on inputs of \(5,\)"),
        (parametrised, "0 is parametrised"),
        (pruned, "0 is parametrised"),
        (diverged, "not finite"),
    ],
)
def test_what_cannot_be_compacted_says_so_in_a_line(bad, words):
    model, shape = bad()
    with pytest.raises(ValueError, match=words) as caught:
        compact(model, shape)
    assert "\n" not in str(caught.value)


def test_a_layer_that_computes_in_its_own_way_is_found_out():
    class Standardised(nn.Conv2d):
        def forward(self, x):
            return F.conv2d(x, self.weight - self.weight.mean(1, keepdim=True), self.bias)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), Standardised(8, 4, 3))
    kill(model[0], 0, 1, 2, 3)
    with pytest.raises(RuntimeError, match="something else"):
        compact(model, (3, 6, 6))


@pytest.fixture(scope="module")
def exported(trained):
    """The compacted copy as a program for any batch, and (input, the original's output) in two sizes."""
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model = copy.deepcopy(trained[0]).eval()
    shape = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(compact(model, (3, 8, 8)), (x,), dynamic_shapes=(shape,))
    with torch.no_grad():
        return program, [(batch, model(batch)) for batch in (x, x[:3])]


def close(got, expected):
    return float((got - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def test_torch_export(exported):
    program, pairs = exported
    assert sum(tensor.numel() for tensor in program.state_dict.values()) < size(build("wrn-16-2", 10)) / 2
    with torch.no_grad():
        assert all(close(program.module()(x), expected) for x, expected in pairs)


def test_onnx(exported, tmp_path):
    import onnxruntime

    program, pairs = exported
    torch.onnx.export(program, (), tmp_path / "small.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    assert all(
        close(torch.from_numpy(session.run(None, {name: x.numpy()})[0]), expected) for x, expected in pairs
    )
