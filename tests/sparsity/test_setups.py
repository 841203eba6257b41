"""The sparsifier among what people put around an optimiser: each set-up works, or says no in one line."""

import copy
import math
import warnings

import pytest
import schedulefree
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rigl.sparsity import masks, optimizers, sparsifier
from rigl.sparsity.sparsifier import Sparsifier

T = torch.optim
OPTIMIZERS = {
    "sgd": lambda p: T.SGD(p, 0.05),
    "sgd-momentum": lambda p: T.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3, nesterov=True, foreach=True),
    "sgd-fused": lambda p: T.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3, fused=True),
    "adam": lambda p: T.Adam(p, 0.01, weight_decay=1e-3, amsgrad=True, foreach=False),
    "adamw-fused": lambda p: T.AdamW(p, 0.01, fused=True),
    "nadam": lambda p: T.NAdam(p, 0.01),
    "radam": lambda p: T.RAdam(p, 0.01),
    "adamax": lambda p: T.Adamax(p, 0.01),
    "adadelta": lambda p: T.Adadelta(p),
    "adagrad": lambda p: T.Adagrad(p, 0.05, initial_accumulator_value=0.1),
    "rmsprop": lambda p: T.RMSprop(p, 0.01, momentum=0.9, centered=True),
    "rprop": lambda p: T.Rprop(p, 0.02),
    "asgd": lambda p: T.ASGD(p, 0.05),
    "adafactor": lambda p: T.Adafactor(p, 0.01),
    "muon": lambda p: T.Muon(p, 0.01),
    "schedule-free sgd": lambda p: schedulefree.SGDScheduleFree(p, 0.05),
    "schedule-free adamw": lambda p: schedulefree.AdamWScheduleFree(p, 0.01),
    "schedule-free radam": lambda p: schedulefree.RAdamScheduleFree(p, 0.01),
}
# What a weight's state begins with, where it is not 0.
INITIAL = {"adagrad": {"sum": 0.1}, "rprop": {"step_size": 0.02}}


class SAM(T.Optimizer):
    """Sharpness-aware minimisation as its usual PyTorch version has it: the inner optimiser steps."""

    def __init__(self, base_optimizer, rho=0.05):
        super().__init__(base_optimizer.param_groups, {"rho": rho})
        self.base_optimizer, self.rho = base_optimizer, rho

    @torch.no_grad()
    def first_step(self):
        trained = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in trained]).norm() + 1e-12
        for p in trained:
            self.state[p]["old_p"] = p.data.clone()
            p.add_(p.grad * (self.rho / norm))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()


class Lookahead(T.Optimizer):
    """Of the shape of timm's, which keeps its slow weights in the state of the inner optimiser."""

    def __init__(self, base_optimizer):
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = {}, {}
        self._base_optimizer, self.calls = base_optimizer, 0
        self.param_groups, self.state = base_optimizer.param_groups, {}
        self.defaults = base_optimizer.defaults

    @torch.no_grad()
    def step(self):
        self._base_optimizer.step()
        self.calls += 1
        for p in (p for group in self.param_groups for p in group["params"] if self.calls % 3 == 0):
            state = self._base_optimizer.state[p]
            slow = state.setdefault("lookahead_slow_buff", p.detach().clone())
            slow.lerp_(p, 0.5)
            p.copy_(slow)


def matrices(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16, bias=False), nn.Tanh(), nn.Linear(16, 4, bias=False))


def batch(step, dtype=torch.float32):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 12, generator=generator).to(dtype)
    return x, torch.randint(0, 4, (8,), generator=generator)


def attach(model, optimizer, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "delta_t=")
        return Sparsifier(
            model, optimizer, **{"method": "rigl", "density": 0.3, "total_steps": 40, "delta_t": 4, **options}
        )


def advance(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        x, y = batch(step, model[0].weight.dtype)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def is_sparse(sparsifier, model):
    return not any(bool(model.get_parameter(n)[~mask].any()) for n, mask in sparsifier.masks.items())


def one_step(model, optimizer, wrapper, precision, step, scaler):
    x, y = batch(step, model[0].weight.dtype)

    def backward():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, precision == "autocast"):
            loss = F.cross_entropy(model(x).float(), y)
        (scaler.scale(loss) if scaler else loss).backward()
        return loss

    if wrapper == "closure":
        optimizer.step(backward)
        return
    backward()
    if wrapper == "sam":
        optimizer.first_step()
        backward()
        optimizer.second_step()
    elif scaler:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()


WRAPPERS = {
    "plain": lambda optimizer: optimizer,
    "closure": lambda optimizer: optimizer,
    "accelerate": lambda optimizer: Accelerator(cpu=True).prepare_optimizer(optimizer),
    "sam": SAM,
    "lookahead": Lookahead,
}


@pytest.mark.parametrize(
    ("wrapper", "precision"),
    [(wrapper, "float32") for wrapper in WRAPPERS]
    + [("plain", precision) for precision in ("float64", "bfloat16", "autocast", "scaler")],
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_set_up_trains_sparsely(name, wrapper, precision):
    """RigL and pruning: inactive weights are 0 after every step and counts are exact; state is masked, or at
    what it begins with."""
    if name == "muon" and precision == "float64":
        pytest.skip("Muon works in bfloat16")
    for method in ("rigl", "pruning"):
        model = matrices()
        if precision in ("float64", "bfloat16"):
            model.to(getattr(torch, precision))
        inner = OPTIMIZERS[name](model.parameters())
        optimizer = WRAPPERS[wrapper](inner)
        given = inner if wrapper in ("sam", "lookahead") else optimizer
        sparse = attach(model, given, method=method, total_steps=16)
        if "schedule-free" in name:
            inner.train()
        first = {n: int(mask.sum()) for n, mask in sparse.masks.items()}
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0) if precision == "scaler" else None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for step in range(16):
                one_step(model, optimizer, wrapper, precision, step, scaler)
                # Lookahead's slow weights are mixed in after the inner step.
                assert is_sparse(sparse, model) or (wrapper == "lookahead" and method == "pruning")
                for n, mask in sparse.masks.items() if method == "rigl" else ():
                    assert int(mask.sum()) == first[n]
                    for key, value in optimizers.tensors_of(inner, model.get_parameter(n)).items():
                        start = INITIAL.get(name, {}).get(key, 0.0)
                        assert bool((value[~mask] == value.new_tensor(start)).all()), key
        assert sparse.step_count == 16
        assert sparse.update_count == (3 if method == "rigl" else 4)
        sizes = {n: mask.numel() for n, mask in sparse.masks.items()}
        active = sum(int(mask.sum()) for mask in sparse.masks.values())
        if method == "pruning":
            assert active == round(0.3 * sum(sizes.values()))
        assert all(bool(p.isfinite().all()) for p in model.parameters())
        if "schedule-free" in name:
            inner.eval()
            assert is_sparse(sparse, model)


def test_optimisers_that_step_another_are_told_where_to_attach():
    model = matrices()
    with pytest.raises(
        ValueError, match=r"^SAM steps another optimizer: attach to its base_optimizer instead$"
    ):
        attach(model, SAM(T.SGD(model.parameters(), 0.1)))
    with pytest.raises(ValueError, match="Lookahead steps another optimizer: attach to its _base_optimizer"):
        attach(model, Lookahead(T.SGD(model.parameters(), 0.1)))
    wrapped = schedulefree.ScheduleFreeWrapper(T.SGD(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="optimizer=ScheduleFreeWrapper: a torch optimizer with step hooks"):
        attach(model, wrapped)
    with pytest.raises(ValueError, match="SparseAdam takes sparse gradients"):
        attach(model, T.SparseAdam(model.parameters()))


class Hidden:
    """An optimiser that does by itself what ``step`` of the one attached to would do."""

    def __init__(self, optimizer, lr=0.1):
        self.optimizer, self.lr = optimizer, lr

    @torch.no_grad()
    def step(self):
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                p.sub_(p.grad, alpha=self.lr)


@pytest.mark.parametrize("read", ["densities", "summary", "state_dict"])
def test_hooks_that_do_not_run_are_told(read):
    model = matrices()
    optimizer = T.SGD(model.parameters(), 0.1)
    sparse = attach(model, optimizer)
    advance(model, optimizer, 3)
    x, y = batch(0)
    F.cross_entropy(model(x), y).backward()
    Hidden(optimizer).step()
    with pytest.warns(
        UserWarning, match=r"inactive weights, first of 0\.weight, were not 0 after step 3, the last"
    ):
        getattr(sparse, read) if read == "densities" else getattr(sparse, read)()
    sparse.apply_masks(model)
    assert is_sparse(sparse, model)


@pytest.mark.parametrize("fused", [False, True])
def test_another_optimiser_is_noticed(fused):
    """At the next step; a fused one, which leaves no trace on tensors, at the next update."""
    model = matrices()
    optimizer, other = T.SGD(model.parameters(), 0.1), T.SGD(model.parameters(), 0.1, fused=fused)
    sparse = attach(model, optimizer)
    advance(model, optimizer, 3)
    assert sparse.update_due
    x, y = batch(3)
    F.cross_entropy(model(x), y).backward()
    other.step()
    with pytest.warns(UserWarning, match="not 0 before step 3: something other than this optimizer wrote"):
        optimizer.step()
    assert is_sparse(sparse, model)


def test_weights_loaded_from_elsewhere_are_noticed():
    model = matrices()
    optimizer = T.SGD(model.parameters(), 0.1)
    sparse = attach(model, optimizer)
    model.load_state_dict(matrices(1).state_dict())
    with pytest.warns(UserWarning, match="before step 0: something other than this optimizer"):
        advance(model, optimizer, 1)
    assert is_sparse(sparse, model)


@pytest.mark.parametrize("how", ["assign", "parameter"])
def test_weights_replaced_later_are_an_error(how):
    model = matrices()
    optimizer = T.SGD(model.parameters(), 0.1)
    attach(model, optimizer)
    if how == "assign":
        model.load_state_dict(matrices(1).state_dict(), assign=True)
    else:
        model[0].weight = nn.Parameter(torch.ones(16, 12))
    with pytest.raises(
        RuntimeError, match=r"^0\.weight was replaced in the model since the sparsifier was attached"
    ):
        advance(model, optimizer, 1)


def test_two_sparsifiers_through_two_optimisers():
    model = matrices()
    optimizer = T.SGD(model.parameters(), 0.1)
    first = attach(model, optimizer, method="set")
    other = T.Adam(model.parameters())
    with pytest.raises(
        ValueError, match=r"set masks 0\.weight in another optimizer already: detach\(\) it first"
    ):
        attach(model, other)
    first.detach()
    attach(model, other)
    del first, other, optimizer
    model = matrices()
    for _ in range(2):  # the first is nobody's any more
        attach(model, T.SGD(model.parameters(), 0.1))


class Compiled(nn.Module):
    """Of the shape of what torch.compile returns."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module


@pytest.mark.parametrize("wrap", [AveragedModel, nn.DataParallel, Compiled])
def test_averages_are_masked(wrap):
    model = matrices()
    optimizer = T.SGD(model.parameters(), 0.1, momentum=0.9)
    sparse = attach(model, optimizer, density=0.1)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for step in range(30):
        advance(model, optimizer, 1, step)
        ema.update_parameters(model)
    assert not is_sparse(sparse, ema.module)
    expected = {n: ema.module.get_parameter(n).detach() * mask for n, mask in sparse.masks.items()}
    sparse.apply_masks(ema if wrap is AveragedModel else wrap(ema.module))
    for n, value in expected.items():
        assert torch.equal(ema.module.get_parameter(n), value)
    other = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 5))
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=r"Sequential has no weight 2\.weight of shape \(4, 16\)"):
        sparse.apply_masks(other)
    assert all(torch.equal(before[n], value) for n, value in other.state_dict().items())


class EightBit(T.SGD):
    """With the state that bitsandbytes keeps: codes of the weight's shape."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["state1"] = torch.zeros_like(p, dtype=torch.uint8)


class Codes(torch.Tensor):
    """A tensor subclass, as torchao keeps its state in."""


class Subclassed(T.SGD):
    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["exp_avg"] = torch.zeros_like(p).as_subclass(Codes)


@pytest.mark.parametrize(
    ("make", "kind"), [(EightBit, "state1 as torch.uint8"), (Subclassed, "exp_avg as Codes")]
)
def test_state_in_few_bits_is_refused(make, kind):
    model = matrices()
    optimizer = make(model.parameters(), 0.1)
    sparse = attach(model, optimizer)
    with pytest.raises(ValueError, match=f"{make.__name__} keeps {kind}, which cannot be masked"):
        advance(model, optimizer, 1)
    sparse.detach()
    with pytest.raises(ValueError, match=f"{make.__name__} keeps {kind}, which cannot be masked"):
        attach(model, optimizer)
    attach(model, optimizer, method="pruning")  # leaves the state alone
    advance(model, optimizer, 4)
    optimizer.args = type("Args", (), {"optim_bits": 8})  # as bitsandbytes says it before the first step
    with pytest.raises(ValueError, match="keeps its state in less than 16 bits"):
        optimizers.check_optimizer(optimizer, sparse.method)


def test_a_state_that_begins_elsewhere_is_told():
    class Ones(T.SGD):  # as timm's RMSpropTF does
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p].setdefault("square_avg", torch.ones_like(p))
            return super().step(closure)

    model = matrices()
    optimizer = Ones(model.parameters(), 0.1)
    attach(model, optimizer)
    with pytest.warns(UserWarning, match="Ones begins square_avg with something other than 0"):
        advance(model, optimizer, 1)


@pytest.mark.parametrize("name", INITIAL)
@pytest.mark.parametrize("preset", ["repro2021", "google"])
def test_grown_weights_begin_with_the_optimisers_own_state(name, preset):
    model = matrices()
    optimizer = OPTIMIZERS[name](model.parameters())
    sparse = attach(model, optimizer, preset=preset, alpha=0.5)
    grown = 0
    for step in range(20):
        before, due = {n: mask.clone() for n, mask in sparse.masks.items()}, sparse.update_due
        advance(model, optimizer, 1, step)
        for n, mask in sparse.masks.items() if due and optimizer.state else ():
            new = mask & ~before[n]
            for key, start in INITIAL[name].items():
                value = optimizer.state[model.get_parameter(n)][key]
                assert bool((value[new] == value.new_tensor(start)).all())
            grown += int(new.sum())
    assert grown > 20


@pytest.mark.parametrize("method", ["rigl", "set", "pruning"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_that_are_not_finite_move_no_mask(method, bad):
    model = matrices()
    optimizer = T.SGD(model.parameters(), 0.1, momentum=0.9)
    sparse = attach(model, optimizer, method=method)
    advance(model, optimizer, 3)
    for number, step in enumerate((3, 7)):
        advance(model, optimizer, step - sparse.step_count, sparse.step_count)
        values, before = copy.deepcopy(model.state_dict()), {n: m.clone() for n, m in sparse.masks.items()}
        x, y = batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        model[2].weight.grad[0, 0] = bad
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            optimizer.step()
        goes_by_it = method == "rigl"
        assert len(said) == (goes_by_it and number == 0), "once"
        assert all(torch.equal(before[n], m) for n, m in sparse.masks.items()) == goes_by_it
        if said:
            assert f"the gradients of step {step} are not finite" in str(said[0].message)
            assert all(torch.equal(values[n], p) for n, p in model.state_dict().items())
        assert sparse.update_count == (0 if goes_by_it else number + 1)
        assert all(bool(p.isfinite().all()) for p in model.parameters())
    advance(model, optimizer, 20, 8)
    assert sparse.update_count == (5 if method == "rigl" else 7)


def test_gradients_can_be_read_after_an_update():
    model, twin = matrices(), matrices()
    optimizer = T.SGD(model.parameters(), 0.1)
    sparse = attach(model, optimizer)
    for step in range(8):
        due, number = sparse.update_due, sparse.update_count
        twin.load_state_dict(model.state_dict())
        advance(model, optimizer, 1, step)
        x, y = batch(step)
        twin.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            assert torch.equal(p.grad, q.grad) == due
        assert sparse.update_count == number + due


def test_complex_weights_and_their_state():
    torch.manual_seed(0)
    model = nn.Linear(12, 10, bias=False, dtype=torch.complex64)
    optimizer = T.Adam(model.parameters(), 0.01)
    sparse = attach(model, optimizer)
    first = model.weight.detach().clone()
    for step in range(20):
        optimizer.zero_grad()
        model(
            torch.randn(4, 12, generator=torch.Generator().manual_seed(step)).cfloat()
        ).abs().sum().backward()
        optimizer.step()
        mask = sparse.masks["weight"]
        assert int(mask.sum()) == 36
        for tensor in (model.weight, *optimizers.tensors_of(optimizer, model.weight).values()):
            assert not bool(tensor.detach()[~mask].abs().any())
    assert len(optimizers.tensors_of(optimizer, model.weight)) == 2
    assert not torch.equal(first != 0, mask)


@pytest.mark.parametrize("delta_t", [2, 9, 10])
@pytest.mark.parametrize("preset", ["repro2021", "google"])
@pytest.mark.parametrize("method", ["rigl", "pruning", "static"])
def test_updates_that_leave_little_training_are_told(delta_t, preset, method):
    model = matrices()
    options = {"density": 0.3, "total_steps": 100, "preset": preset, "method": method}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Sparsifier(model, T.SGD(model.parameters(), 0.1), delta_t=delta_t, **options).detach()
    assert len(said) == (delta_t < 10 and preset == "repro2021" and method != "static")
    if preset == "repro2021" and method != "static":
        with pytest.raises(ValueError, match="delta_t=1 makes every step an update"):
            Sparsifier(model, T.SGD(model.parameters(), 0.1), delta_t=1, **options)


SPOILT = {
    "step_count=-5": ({"step_count": -5}, "step_count='-5' must be a whole number, at least 0"),
    "step_count=nan": ({"step_count": math.nan}, "step_count='nan' must be a whole number"),
    "step_count=text": ({"step_count": "ten"}, "step_count='ten' must be a whole number"),
    "update_count=True": ({"update_count": True}, "update_count='True' must be a whole number"),
    "last_update=-2": ({"last_update": -2}, "last_update='-2' must be a whole number, at least -1"),
    "seed=None": ({"seed": None}, "seed='None' must be a whole number"),
    "masks=list": ({"masks": []}, "masks must be a dict of tensors by name"),
    "masks of numbers": ({"masks": {"0.weight": 1}}, "masks must be a dict of tensors by name"),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_state_with_impossible_values_is_refused(spoil):
    change, message = SPOILT[spoil]
    refuse(change, message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "has values other than 0 and 1"),
        (0.5, "has values other than 0 and 1"),
        (0.0, r"mask of 2\.weight has 0 active weights, not 20"),
        (1.0, r"mask of 2\.weight has 64 active weights, not 20"),
    ],
)
def test_a_state_with_impossible_masks_is_refused(value, message):
    refuse({"masks": value}, message)


def refuse(change, message):
    model = matrices()
    optimizer = T.SGD(model.parameters(), 0.1)
    sparse = attach(model, optimizer, distribution="uniform", density=0.3125)
    state = attach(twin := matrices(1), T.SGD(twin.parameters(), 0.1), distribution="uniform", density=0.3125)
    state = state.state_dict()
    if isinstance(change.get("masks"), float):
        change = {"masks": {**state["masks"], "2.weight": torch.full((4, 16), change["masks"])}}
    before = copy.deepcopy((sparse.state_dict(), model.state_dict()))
    with pytest.raises(ValueError, match=message):
        sparse.load_state_dict({**state, **change})
    after = sparse.state_dict(), model.state_dict()
    assert all(torch.equal(before[1][n], p) for n, p in after[1].items())
    assert all(torch.equal(before[0]["masks"][n], m) for n, m in after[0]["masks"].items())
    assert {**before[0], "masks": 0} == {**after[0], "masks": 0}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"density": 0.4}, r"the state was saved with density=0\.4, not density=0\.3"),
        ({"distribution": "er"}, "the state was saved with distribution='er', not distribution='erk'"),
        ({"preset": "google"}, "the state was saved with preset='google', not preset='repro2021'"),
    ],
)
def test_a_state_of_another_sparsifier_is_refused(option, message):
    model, other = matrices(), matrices()
    state = attach(other, T.SGD(other.parameters(), 0.1), **option).state_dict()
    sparse = attach(model, T.SGD(model.parameters(), 0.1))
    before = {n: mask.clone() for n, mask in sparse.masks.items()}
    with pytest.raises(ValueError, match=message):
        sparse.load_state_dict(state)
    assert all(torch.equal(before[n], mask) for n, mask in sparse.masks.items())


def test_a_state_of_another_schedule_is_told():
    model, other = matrices(), matrices()
    saved = attach(other, T.SGD(other.parameters(), 0.1), delta_t=5, total_steps=50, alpha=0.2, t_end=0.5)
    sparse = attach(model, T.SGD(model.parameters(), 0.1))
    with pytest.warns(
        UserWarning, match="schedule is not the saved one: total_steps=40, it was 50; alpha=0.3, it"
    ):
        sparse.load_state_dict(saved.state_dict())
    assert all(torch.equal(saved.masks[n], mask) for n, mask in sparse.masks.items())
    old = {key: value for key, value in saved.state_dict().items() if key not in ("active", "settings")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sparse.load_state_dict(old)  # as saved before these two were there


class Two(nn.Module):
    def __init__(self, order):
        super().__init__()
        torch.manual_seed(0)
        layers = {"a": nn.Linear(12, 16, bias=False), "b": nn.Linear(16, 4, bias=False)}
        for name in order:
            self.add_module(name, layers[name])

    def forward(self, x):
        return self.b(self.a(x).tanh())


@pytest.mark.parametrize("method", ["set", "snfs", "rigl-sg", "pruning"])
def test_a_model_in_another_order_goes_on_alike(method):
    """Random numbers, and ties among layers, go by the order of the saved state."""
    ends = []
    for order in ("ab", "ba"):
        model = Two("ab")
        optimizer = T.SGD([model.a.weight, model.b.weight], 0.1, momentum=0.9)
        sparse = attach(model, optimizer, method=method)
        train(model, optimizer, range(6))
        state = [part.state_dict() for part in (model, optimizer, sparse)]
        model = Two(order)
        optimizer = T.SGD([model.a.weight, model.b.weight], 0.1, momentum=0.9)
        sparse = attach(model, optimizer, method=method, seed=1)
        for part, saved in zip((model, optimizer, sparse), state, strict=True):
            part.load_state_dict(saved)
        train(model, optimizer, range(6, 24))
        assert sparse.update_count > 4
        ends.append((sparse.masks, model.state_dict()))
    for first, second in zip(*ends, strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[name]) for name, value in first.items())


def train(model, optimizer, steps):
    for step in steps:
        x, y = batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def bits(model, optimizer):
    """All numbers of a training as bits, which tell 0 from -0."""
    state = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [tensor.detach().reshape(-1).view(torch.uint8) for tensor in (*model.parameters(), *state)]


@pytest.mark.parametrize("preset", ["repro2021", "google"])
@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if "schedule-free" not in n])
def test_what_saves_memory_traffic_changes_no_bit(monkeypatch, name, preset):
    """State that is not masked anew since it is 0 still, and large layers without masks as numbers."""
    ends = []
    for saves in (True, False):
        monkeypatch.setattr(sparsifier, "keeps_zeros", optimizers.keeps_zeros if saves else lambda *_: False)
        monkeypatch.setattr(sparsifier, "FLOAT_MASKS_TO", 100 if saves else 2**20)
        model = matrices()
        optimizer = OPTIMIZERS[name](model.parameters())
        attach(model, optimizer, preset=preset)
        advance(model, optimizer, 24)
        ends.append(bits(model, optimizer))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64]
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_multiplying_by_bools_is_multiplying_by_numbers(dtype, layout):
    values = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    values.view(-1)[:6] = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, -1.0]).to(dtype)
    mask = torch.rand(values.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    values, mask = values.to(memory_format=layout), mask.to(memory_format=layout)
    expected = values * mask.to(dtype)
    version = values._version
    masks.multiply(values, mask)
    assert values._version > version, "whoever watches sees that it was written to"
    assert torch.equal(values.isnan(), expected.isnan())
    kept = ~expected.isnan()
    as_bits = {8: torch.int64, 4: torch.int32, 2: torch.int16}[dtype.itemsize]
    assert torch.equal(values[kept].view(as_bits), expected[kept].view(as_bits))
