"""Sparse models on disk and at inference."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rigl.sparsity.sparse_models import SparseLinear, load_sparse, save_sparse, sparse_inference
from rigl.sparsity.sparsifier import Sparsifier


def network(dtype=torch.float32, density=0.1, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        nn.Linear(8 * 36, 40),
        nn.ReLU(),
        nn.Linear(40, 5),
    )
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(torch.rand(weight.shape) < density)
    return model.to(dtype)


def bits(model):
    return {
        name: tensor.contiguous().reshape(-1).view(torch.uint8) for name, tensor in model.state_dict().items()
    }


def same(a, b):
    return all(torch.equal(value, bits(b)[name]) for name, value in bits(a).items())


@settings(max_examples=25)
@given(
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    density=st.floats(0, 0.5),
    special=st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 1e-45]),
    seed=st.integers(0, 99),
)
def test_round_trip_is_exact(tmp_path_factory, dtype, density, special, seed):
    path = tmp_path_factory.mktemp("sparse") / "model.safetensors"
    model = network(dtype, density, seed)
    with torch.no_grad():
        model[3].weight.view(-1)[seed] = special
        model[1].running_mean.fill_(special)
    save_sparse(model, path)
    other = network(dtype, 1, seed + 1)
    load_sparse(other, path)
    assert same(model, other)


def test_wrn_is_a_sixth_of_its_size(tmp_path):
    from rigl.training.models import build

    model = build("wrn-22-2", 10)
    Sparsifier(model, torch.optim.SGD(model.parameters(), 0.1), method="static", density=0.1, total_steps=9)
    save_sparse(model, tmp_path / "sparse")
    torch.save(model.state_dict(), tmp_path / "dense")
    assert (tmp_path / "sparse").stat().st_size <= 0.16 * (tmp_path / "dense").stat().st_size
    other = build("wrn-22-2", 10)
    load_sparse(other, tmp_path / "sparse")
    optimizer = torch.optim.SGD(other.parameters(), 0.1)
    sparsifier = Sparsifier(other, optimizer, method="rigl", masks="nonzero", total_steps=100, delta_t=10)
    assert same(model, other)
    for name, mask in sparsifier.masks.items():
        assert torch.equal(mask, model.get_parameter(name) != 0)


def test_tied_weights_are_kept_once(tmp_path):
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    model[1].weight = model[0].weight
    with torch.no_grad():
        model[0].weight.mul_(torch.rand(64, 64) < 0.1)
    save_sparse(model, tmp_path / "m")
    assert (tmp_path / "m").stat().st_size < 0.3 * 64 * 64 * 4
    other = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    load_sparse(other, tmp_path / "m")
    assert same(model, other)


def test_dense_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Sequential is not sparse"):
        save_sparse(network(density=1), tmp_path / "m")
    assert not [*tmp_path.iterdir()]


@settings(max_examples=40)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_bit_is_found(tmp_path_factory, place, bit):
    folder = tmp_path_factory.mktemp("sparse")
    save_sparse(network(), folder / "m")
    content = bytearray((folder / "m").read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (folder / "m").write_bytes(content)
    other = network(seed=1)
    before = bits(network(seed=1))
    with pytest.raises(ValueError, match=r"^[^\n]*$"):
        load_sparse(other, folder / "m")
    assert all(torch.equal(value, bits(other)[name]) for name, value in before.items())


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "m"
    save_sparse(network(), path)
    content = path.read_bytes()
    for cut in (0, 5, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"is damaged, or no safetensors file"):
            load_sparse(network(), path)
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match="no safetensors file"):
        load_sparse(network(), path)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no file of save_sparse"):
        load_sparse(network(), path)


def test_other_models_are_refused(tmp_path):
    save_sparse(network(), tmp_path / "m")
    for other, message in (
        (network(torch.float64), "0.* is torch.float32 of .* in the file, torch.float64"),
        (nn.Sequential(*network(), nn.Linear(5, 5)), "the file has no 6"),
        (nn.Sequential(*network())[:3], "the model has no"),
    ):
        before = bits(other)
        with pytest.raises(ValueError, match=message):
            load_sparse(other, tmp_path / "m")
        assert all(torch.equal(value, bits(other)[name]) for name, value in before.items())


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    lead=st.lists(st.integers(1, 3), max_size=2),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_inference_is_exact_to_rounding(shape, lead, bias, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(*shape, bias=bias), nn.Tanh()).double()
    with torch.no_grad():
        model[0].weight.mul_(torch.rand(model[0].weight.shape) < 0.5)
    x = torch.randn(*lead, shape[0], dtype=torch.float64)
    fast = sparse_inference(model, density=1)
    assert isinstance(fast[0], SparseLinear)
    assert isinstance(model[0], nn.Linear)
    torch.testing.assert_close(fast(x), model(x).detach())


def test_inference_of_a_model_in_training():
    model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 5))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    distribution = {"0.weight": 0.1, "2.weight": 0.8}
    Sparsifier(
        model, optimizer, method="static", distribution=distribution, total_steps=9, execution="sparse"
    )
    fast = sparse_inference(model)
    assert [type(module) for module in fast] == [SparseLinear, nn.ReLU, nn.Linear]
    x = torch.randn(3, 30)
    torch.testing.assert_close(fast(x), model(x).detach())
    again = pickle.loads(pickle.dumps(fast))
    assert torch.equal(again(x), fast(x))
    with pytest.raises(ValueError, match=r"no linear layer of at most density=0\.01"):
        sparse_inference(model, density=0.01)
