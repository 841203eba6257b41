"""What is found in a model, and that looking changes nothing."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from rigl.sparsity.layers import describe, maskable
from rigl.sparsity.methods import METHODS
from rigl.sparsity.sparsifier import Sparsifier
from rigl.training.models import build

MOVING = [name for name, method in METHODS.items() if method.grow or method.prunes]


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

    from rigl.sparsity.flops import forward_flops

    for name, shape in (("wrn-16-1", (3, 16, 16)), ("lenet-300-100", (1, 28, 28)), ("resnet-50", (3, 8, 8))):
        model = build(name, 10, 0.25, input_shape=shape).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, *shape))
        assert forward_flops(describe(model, shape)) == counter.get_total_flops()


class Tokens(nn.Module):
    """A recurrent layer, attention, and an output layer that borrows the embedding's weight."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.hidden = nn.Linear(8, 8)
        self.output = nn.Linear(8, 11, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, x):
        x, _ = self.lstm(self.embedding(x.long()))
        x, _ = self.attention(x, x, x)
        return self.output(self.hidden(x).relu()).mean(1)


class Partly(nn.Module):
    """A frozen layer, a weight used by two layers, and a layer that the optimiser is not given."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
        self.body[1].weight = self.body[0].weight
        self.body[2].weight.requires_grad_(False)
        self.left = nn.Linear(6, 3)

    def forward(self, x):
        return self.left(self.body(x))


def convolutions(kind, transposed, batch_norm):
    conv = getattr(nn, f"Conv{kind}d")
    middle = getattr(nn, f"ConvTranspose{kind}d") if transposed else conv
    return nn.Sequential(
        conv(2, 8, 2, bias=not batch_norm),
        getattr(nn, f"BatchNorm{kind}d")(8) if batch_norm else nn.Identity(),
        middle(8, 12, 1),
        conv(12, 12, 2, groups=3),
        nn.Conv2d(12, 12, 1, groups=12) if kind == 2 else nn.Identity(),
        nn.Flatten(),
        nn.Linear(12 * 3**kind, 6),
        nn.Linear(6, 5),
    )


def weights(modules):
    return [f"{name}.weight" for name in modules.split()]


# what is built, the shape of a sample, and the names that every method masks
NETWORKS = {
    "1d": (partial(convolutions, 1, False, True), (2, 5), weights("0 2 3 6 7")),
    "2d": (partial(convolutions, 2, False, False), (2, 5, 5), weights("0 2 3 4 6 7")),
    "3d": (partial(convolutions, 3, False, True), (2, 5, 5, 5), weights("0 2 3 6 7")),
    "transposed 1d": (partial(convolutions, 1, True, False), (2, 5), weights("0 2 3 6 7")),
    "transposed 2d": (partial(convolutions, 2, True, True), (2, 5, 5), weights("0 2 3 4 6 7")),
    "transposed 3d": (partial(convolutions, 3, True, False), (2, 5, 5, 5), weights("0 2 3 6 7")),
    "linear": (
        lambda: nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 5)),
        (6,),
        weights("0 2 4"),
    ),
    "tokens": (
        Tokens,
        (4,),
        [
            "lstm.weight_ih_l0",
            "lstm.weight_hh_l0",
            "attention.in_proj_weight",
            *weights("attention.out_proj hidden"),
        ],
    ),
    "partly": (Partly, (6,), weights("body.0 body.3")),
}


def trained(model):
    """Parameters for an optimiser, without those of a layer called "left"."""
    return [p for name, p in model.named_parameters() if not name.startswith("left")]


@pytest.mark.parametrize("method", MOVING)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_method_on_all_kinds_of_layers(network, method):
    """What it says it masks is masked at every step, and all else trains as ever."""
    torch.manual_seed(0)
    build_network, shape, names = NETWORKS[network]
    model = build_network()
    optimizer = torch.optim.SGD(trained(model), lr=0.05, momentum=0.9)
    weights = {name: weight for name, _, weight, *_ in maskable(model) if not name.startswith("left")}
    assert list(weights) == names
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    given = {name: torch.rand(weight.shape) < 0.5 for name, weight in weights.items()}
    options = {"masks": given} if METHODS[method].source else {}
    density = {"tokens": 0.95}.get(network, 0.9) if method == "rigl-struct" else 0.5
    sparsifier = Sparsifier(
        model, optimizer, method=method, density=density, total_steps=12, delta_t=2, alpha=0.5, **options
    )
    first, moved = {name: mask.clone() for name, mask in sparsifier.masks.items()}, set()
    for _ in range(12):
        x = torch.randn(4, *shape) if network != "tokens" else torch.randint(0, 11, (4, *shape))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), torch.randint(0, 3, (4,))).backward()
        optimizer.step()
        for name, weight in weights.items():
            assert not bool(weight[~sparsifier.masks[name]].any())
            if not torch.equal(first[name], sparsifier.masks[name]):
                moved.add(name)
    assert sparsifier.update_count == 4 + METHODS[method].prunes
    still = _still(method, network, list(weights))
    assert moved.isdisjoint(still)
    sparse = {name for name, mask in first.items() if not mask.all()}
    assert sparse <= moved or method == "rigl-struct"
    assert len(moved) >= 1 + (method != "rigl-struct")
    assert all(sparsifier.densities[name] == 1 for name in still)
    total = sum(mask.numel() for mask in first.values())
    if not METHODS[method].channels and not METHODS[method].source:
        size = total if method != "pruning" else total - sum(first[name].numel() for name in still)
        active = sum(int(mask.sum()) for name, mask in sparsifier.masks.items())
        assert abs(active - (total - size) - 0.5 * size) <= len(weights) / 2
    for name, parameter in model.named_parameters():
        untouched = name == "body.2.weight" or name.startswith("left")
        if name not in weights:
            assert torch.equal(parameter, before[name]) == untouched, name
    rows = [line.split() for line in sparsifier.summary().splitlines()[1:] if "left dense" not in line]
    assert [row[0] for row in rows] == ["weight", *weights, "total"]
    for name, shown, active, size, dense in [[c.replace(",", "") for c in row] for row in rows[1:-1]]:
        assert shown == "x".join(map(str, weights[name].shape))
        assert (int(active), int(size)) == (int(sparsifier.masks[name].sum()), weights[name].numel())
        assert dense == f"{sparsifier.densities[name]:.4f}"


def _still(method, network, names):
    """Names of the layers that the report's code leaves dense."""
    convolutional = network[0] in "123" or network.startswith("transposed")
    if method == "pruning":
        return {names[0]} if convolutional else set()
    if method != "rigl-struct":
        return set()
    if not convolutional:
        return {name for name in names if "lstm" in name or "in_proj" in name} | {names[-1]}
    return {*names[-2:], *([names[1]] if network.startswith("transposed") else [])}


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(6, 4),
        nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.Flatten(), nn.Linear(4, 2)),
    ],
    ids=["one linear layer", "no channels to drop"],
)
def test_structured_needs_a_layer_whose_channels_can_go(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="rigl-struct has no layer to mask here: all of them stay dense"):
        Sparsifier(model, optimizer, method="rigl-struct", density=0.9, total_steps=10)


def test_pruning_needs_a_second_layer():
    conv = nn.Conv1d(2, 3, 1)
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="pruning has no layer to mask here"):
        Sparsifier(conv, optimizer, method="pruning", total_steps=200)


class Conv1D(nn.Module):
    """As in transformers: a linear layer whose weight is stored (inputs, outputs)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


class Small(nn.Module):
    """GPT-2's kinds of layers: embeddings, two Conv1D and a head that is the embedding's weight."""

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(11, 8)
        self.h = nn.Sequential(Conv1D(24, 8), nn.GELU(), Conv1D(8, 24))
        self.norm = nn.LayerNorm(8)
        self.lm_head = nn.Linear(8, 11, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, x):
        return self.lm_head(self.norm(self.h(self.wte(x.long()))))


def sparsified(model, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    options = {"method": "rigl", "density": 0.5, "total_steps": 20, "delta_t": 2, **options}
    return Sparsifier(model, optimizer, **options), optimizer


def test_layers_stored_transposed_and_a_tied_head():
    model = Small()
    with pytest.warns(
        UserWarning, match="lm_head.weight stays dense, for it is the embedding wte too: name it"
    ):
        sparsifier, _ = sparsified(model)
    assert list(sparsifier.masks) == ["h.0.weight", "h.2.weight"]
    assert "left dense: wte.weight (11x8), 16.9%" in sparsifier.summary()
    rows = by_name(model, (5,))
    assert {name: (row.shape, row.positions) for name, row in rows.items()} == {
        "h.0.weight": ((8, 24), 5),
        "h.2.weight": ((24, 8), 5),
    }
    assert list(by_name(Small())) == list(rows)
    sparsifier, _ = sparsified(Small(), include=["h.*", "lm_head"])
    assert set(sparsifier.masks) == {"h.0.weight", "h.2.weight", "lm_head.weight"}


def test_channels_of_a_layer_stored_transposed_are_its_columns():
    torch.manual_seed(0)
    model = Small()
    with pytest.warns(UserWarning, match="tied|embedding"):
        sparsifier, optimizer = sparsified(model, method="rigl-struct", density=0.7, alpha=0.5)
    first = sparsifier.masks["h.0.weight"].clone()
    assert torch.equal(first.any(0), first.all(0))
    assert 0 < int(first.all(0).sum()) < 24
    for _ in range(12):
        optimizer.zero_grad()
        model(torch.randint(0, 11, (3, 5))).square().mean().backward()
        optimizer.step()
    last = sparsifier.masks["h.0.weight"]
    assert torch.equal(last.any(0), last.all(0))
    assert not torch.equal(first, last)
    assert bool(sparsifier.masks["h.2.weight"].all())  # the last of the linear layers, taken for the output


def test_uses_of_recurrent_attention_and_bilinear_layers():
    class Everything(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(4, 6, num_layers=2, bidirectional=True, batch_first=True)
            self.cross = nn.MultiheadAttention(12, 2, kdim=4, vdim=4, batch_first=True)
            self.cell = nn.LSTMCell(12, 6)
            self.pair = nn.Bilinear(6, 6, 3)

        def forward(self, x):
            y, _ = self.gru(x)
            y, _ = self.cross(y[:, :3], x, value=x)
            h, c = self.cell(y[:, 0])
            return self.pair(h, c)

    found = {name: row.positions for name, row in by_name(Everything(), (7, 4)).items()}
    assert found.pop("pair.weight") == found.pop("cell.weight_ih") == found.pop("cell.weight_hh") == 1
    assert found.pop("cross.q_proj_weight") == found.pop("cross.out_proj.weight") == 3
    assert found.pop("cross.k_proj_weight") == found.pop("cross.v_proj_weight") == 7
    assert len(found) == 8
    assert set(found.values()) == {7}
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    assert {row.positions for row in describe(encoder, (5, 8))} == {5}
    assert len(describe(encoder)) == 8


CHOICES = [
    ({"include": "h.*"}, ["h.0.weight", "h.2.weight"]),
    ({"include": "h.2"}, ["h.2.weight"]),
    ({"include": "wte.weight"}, ["lm_head.weight"]),
    ({"include": nn.Linear}, ["lm_head.weight"]),
    ({"include": ["h.0", nn.Linear]}, ["h.0.weight", "lm_head.weight"]),
    ({"exclude": "h.0.weight"}, ["h.2.weight"]),
    ({"exclude": ["norm", Conv1D], "include": ["*"]}, ["lm_head.weight"]),
    ({"include": lambda name, module: name.endswith("2.weight")}, ["h.2.weight"]),
]


@pytest.mark.parametrize(("options", "names"), CHOICES)
@pytest.mark.filterwarnings("ignore:.*stays dense")
def test_layers_are_chosen(options, names):
    sparsifier, _ = sparsified(Small(), density=0.25, distribution="erk", **options)
    assert sorted(sparsifier.masks) == names
    active = sum(int(mask.sum()) for mask in sparsifier.masks.values())
    assert active == pytest.approx(0.25 * sum(mask.numel() for mask in sparsifier.masks.values()), abs=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"include": "decoder.*"}, r"include='decoder.\*' meets no weight that can be masked; the nearest: "),
        ({"include": "norm.*"}, r"include='norm.\*' meets no weight that can be masked; the nearest: "),
        ({"exclude": "lm_heda"}, "exclude='lm_heda' meets no .*the nearest: .*"),
        ({"exclude": nn.Conv2d}, "exclude=Conv2d meets no weight that can be masked"),
        ({"exclude": "*"}, "the optimizer trains no|has no convolution or linear layer to mask"),
    ],
)
def test_a_choice_that_meets_nothing(options, said):
    with pytest.raises(ValueError, match=said):
        sparsified(Small(), **options)


def test_what_is_left_out_is_said():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)), nn.Linear(6, 3))
    with pytest.warns(UserWarning, match="dense") as said:
        sparsifier, _ = sparsified(model)
    texts = [str(each.message) for each in said]
    assert any("0 stays dense: its weight is computed from other parameters" in text for text in texts)
    assert any("only 30% of the weights in matrices are masked" in text for text in texts)
    assert list(sparsifier.masks) == ["1.weight"]
    with pytest.warns(
        UserWarning,
        match="only 44% of the weights in matrices are masked; the largest left dense is 0.weight",
    ):
        sparsified(nn.Sequential(nn.Embedding(10, 6), nn.Linear(6, 8)))


class Standardised(nn.Conv2d):
    """Weight standardisation, as timm's StdConv2d."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class Padded(nn.Conv2d):
    """A forward pass of its own that leaves zeros as they are."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))


def test_a_layer_that_undoes_its_mask_is_refused():
    with pytest.raises(ValueError, match=r"0.weight cannot be masked: Standardised makes something else of"):
        sparsified(nn.Sequential(Standardised(3, 4, 3), nn.Conv2d(4, 4, 1)))
    sparsifier, _ = sparsified(nn.Sequential(Standardised(3, 4, 3), nn.Conv2d(4, 4, 1)), exclude=Standardised)
    assert list(sparsifier.masks) == ["1.weight"]
    sparsifier, _ = sparsified(nn.Sequential(Padded(3, 4, 3), nn.Conv2d(4, 4, 1)))
    assert len(sparsifier.masks) == 2


def test_masks_from_the_weights_that_are_there():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4))
    with torch.no_grad():
        model[0].weight[:, ::2] = 0
    sparsifier, _ = sparsified(model, masks="nonzero", density=None)
    assert torch.equal(sparsifier.masks["0.weight"], model[0].weight != 0)
    assert sparsifier.densities == {"0.weight": 0.5, "1.weight": 1.0}
    sparsifier.detach()
    sizes = model[1].weight.detach().abs()
    sparsifier, _ = sparsified(
        model, masks="magnitude", density=0.25, distribution="uniform", method="static"
    )
    mask = sparsifier.masks["1.weight"]
    assert int(mask.sum()) == 8
    assert sizes[mask].min() >= sizes[~mask].max()
    sparsifier.detach()
    with pytest.raises(ValueError, match=r"masks='nonzero' decides the density: density=0.5"):
        sparsified(model, masks="nonzero")
    with pytest.raises(ValueError, match="masks='largest' is unknown: choose nonzero or magnitude"):
        sparsified(model, masks="largest")
