"""The rules once more, slowly: lists, loops, sorting and bisection, and nothing of the package.

A weight is a flat list of numbers in the order of its positions, a mask a list of bools beside it.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction

# name: (score to grow by, statistic to share by, what of the optimiser's state is masked)
METHODS = {
    "set": ("random", None, "masked"),
    "rigl": ("gradient", None, "masked"),
    "rigl-reinit": ("gradient", None, "masked"),
    "rigl-struct": ("gradient", None, "masked"),
    "rigl-sg": ("gradient", "gradient", "masked"),
    "rigl-sm": ("gradient", "momentum", "masked"),
    "snfs": ("momentum", "momentum", "dense"),
}
FIXED = ("dense", "small-dense", "static", "pruning", "lottery")  # masks that no such update moves


# Masks


def size_of(number):
    """|number|; what is not a number is smaller than all."""
    return -1.0 if math.isnan(number) else abs(number)


def drop(values, mask, count):
    """Without the `count` active positions of smallest size, of equals the first."""
    active = [position for position in range(len(values)) if mask[position]]
    active.sort(key=lambda position: (size_of(values[position]), position))
    gone = set(active[:count])
    return [mask[position] and position not in gone for position in range(len(values))]


def grow(scores, mask, count):
    """With the `count` inactive positions of largest score, of equals the first."""
    inactive = [position for position in range(len(scores)) if not mask[position]]
    lowest = -math.inf
    inactive.sort(key=lambda p: (-(lowest if math.isnan(scores[p]) else scores[p]), p))
    new = set(inactive[:count])
    return [mask[position] or position in new for position in range(len(scores))]


def prune(weights, masks, count):
    """The largest of each layer, then the largest of all, until `count` are left."""
    active = [
        (-size_of(weights[layer][position]), layer, position)
        for layer in range(len(weights))
        for position in range(len(weights[layer]))
        if masks[layer][position]
    ]
    active.sort()
    left = set()
    for layer in range(len(weights)):
        own = [entry for entry in active if entry[1] == layer]
        left.update(own[:1])
    for entry in active:
        if len(left) < count:
            left.add(entry)
    places = {(layer, position) for _, layer, position in left}
    return [[(layer, position) in places for position in range(len(m))] for layer, m in enumerate(masks)]


def redistribute(shares, total, room):
    """How many of `total` each layer regrows; leftovers one by one, in turn, from the first layer on."""
    caps = [math.floor(Fraction(99, 100) * places) for places in room]
    wished = [round(share * total) for share in shares]
    given = [min(wish, cap) for wish, cap in zip(wished, caps, strict=True)]
    while sum(given) > total:
        favour = [have - share * total for have, share in zip(given, shares, strict=True)]
        most = max(favour[layer] for layer in range(len(given)) if given[layer] > 0)
        given[[f if g > 0 else None for f, g in zip(favour, given, strict=True)].index(most)] -= 1
    for limits in (caps, room):
        while sum(given) < total and any(g < limit for g, limit in zip(given, limits, strict=True)):
            for layer in range(len(given)):
                if given[layer] < limits[layer] and sum(given) < total:
                    given[layer] += 1
    return given


# Schedules


def cosine(step, t_end, alpha):
    if step >= t_end:
        return 0.0
    return alpha / 2 * (1 + math.cos(math.pi * step / t_end))


def pruning_density(step, density, t_start, t_end):
    if step <= t_start:
        return 1.0
    if step >= t_end:
        return density
    left = 1 - (step - t_start) / (t_end - t_start)
    return 1 - (1 - density) * (1 - left * left * left)


def update_calls(calls, delta_t, t_end, preset, prunes=False, t_start=0):
    """For each optimiser call in turn, its step and whether it is a mask update.

    repro2021: at steps delta_t - 1, 2 delta_t - 1, ..., each of them a step; google: at 0, delta_t, ...,
    and the step that the update took the place of is then made. Up to `t_end` (steps); pruning from
    `t_start`, and once more at or after `t_end`, so that it arrives.
    """
    found, step, done, ended = [], 0, None, False
    for _ in range(calls):
        place = step if preset == "google" else step + 1
        due = place % delta_t == 0 and done != step
        due = due and (t_start <= step and not ended if prunes else step < t_end)
        found.append((step, due))
        if due:
            done = step
            ended = step >= t_end
        if not (due and preset == "google"):
            step += 1
    return found


def pruning_counts(calls, density, t_start, t_end, sizes):
    """Weights left after each update among `calls` (as from `update_calls`): the schedule's share of all
    that take part, the final one at the last, and never less than one a layer."""
    steps = [step for step, due in calls if due]
    counts = []
    for step in steps:
        share = density if step == steps[-1] else pruning_density(step, density, t_start, t_end)
        counts.append(max(len(sizes), round(share * sum(sizes))))
    return counts


# One update of a whole network


@dataclass
class Weight:
    """One masked weight just before an update; `state` holds the optimiser's lists by torch's names."""

    value: list
    mask: list
    gradient: list | None = None
    state: dict = field(default_factory=dict)
    random: list | None = None
    channels: int | None = None


@dataclass
class Moved:
    """The same weight just after it; `kept` is the mask after the drop."""

    kept: list
    mask: list
    value: list
    state: dict


def momentum(weight):
    """|momentum|, for Adam m / (sqrt(v) + 1e-8); before the first step |gradient|."""
    if weight.state.get("momentum_buffer") is not None:
        return [abs(m) for m in weight.state["momentum_buffer"]]
    if "exp_avg" in weight.state:
        found = []
        for m, v in zip(weight.state["exp_avg"], weight.state["exp_avg_sq"], strict=True):
            found.append(_quotient(abs(m), math.sqrt(v) + 1e-8))
        return found
    return gradient(weight)


def _quotient(above, below):
    return math.nan if math.isinf(above) and math.isinf(below) else above / below


def gradient(weight):
    return None if weight.gradient is None else [abs(g) for g in weight.gradient]


def score(weight, name):
    if name == "random":
        return weight.random
    return gradient(weight) if name == "gradient" else momentum(weight)


def mean(numbers):
    """Their exact sum over how many they are, rounded once."""
    if not all(math.isfinite(number) for number in numbers):
        return sum(numbers) / len(numbers)
    return float(sum(Fraction(number) for number in numbers) / len(numbers))


def channels(values, count):
    """Mean size of each of `count` equal slices."""
    width = len(values) // count
    return [mean([abs(v) for v in values[c * width : (c + 1) * width]]) for c in range(count)]


def active_mean(scores, mask):
    active = [s for s, m in zip(scores, mask, strict=True) if m]
    return mean(active) if active else 0.0


def shares_of(weights, name):
    """Each weight's mean statistic over its active positions, over the sum of all; None where that is 0.

    A mean that is no finite number counts as 0.
    """
    means = [active_mean(score(weight, name), weight.mask) for weight in weights]
    means = [m if math.isfinite(m) else 0.0 for m in means]
    if sum(means) == 0:
        return None
    total = sum(Fraction(m) for m in means)
    return [float(Fraction(m) / total) for m in means]


def drop_counts(weights, fraction, preset, shares=None):
    """Weights (or channels) each layer drops; the study's code spares layers that are nearly full."""
    counts = []
    for index, weight in enumerate(weights):
        units = weight.channels or len(weight.mask)
        active = sum(weight.mask) * units // len(weight.mask)
        share = fraction
        if preset == "repro2021" and shares is not None:
            sparsity = Fraction(units - active, units)
            if sparsity < Fraction(1, 5) and shares[index] > 1 / len(weights):
                share = min(sparsity, Fraction(fraction))
        exact = Fraction(share) * active
        if abs(exact - round(exact)) < 1e-9:  # 0.07 * 100 means 7
            exact = round(exact)
        counts.append(math.ceil(exact) if preset == "repro2021" else math.floor(exact))
    return counts


def drop_and_grow(weights, fraction, method, preset):
    """Every weight after one update; a weight without a score stays as it is (None)."""
    grows_by, shares_by, _ = METHODS[method]
    scored = [weight for weight in weights if score(weight, grows_by) is not None]
    shares = shares_of(scored, shares_by) if shares_by and scored else None
    counts = drop_counts(scored, fraction, preset, shares)
    kept_masks, room = [], []
    for weight, count in zip(scored, counts, strict=True):
        kept = drop(_units(weight, weight.value), _unit_mask(weight), count)
        kept_masks.append(kept)
        room.append(len(kept) - sum(kept))
    regrown = counts if shares is None else redistribute(shares, sum(counts), room)
    moved = []
    for weight, kept, count in zip(scored, kept_masks, regrown, strict=True):
        mask = grow(_units(weight, score(weight, grows_by)), kept, count)
        moved.append(_written(weight, _spread(weight, kept), _spread(weight, mask), method, preset))
    results = iter(moved)
    return [None if score(weight, grows_by) is None else next(results) for weight in weights]


def _units(weight, values):
    return values if weight.channels is None else channels(values, weight.channels)


def _unit_mask(weight):
    if weight.channels is None:
        return weight.mask
    width = len(weight.mask) // weight.channels
    for c in range(weight.channels):
        assert len(set(weight.mask[c * width : (c + 1) * width])) == 1, "a channel that is half there"
    return [weight.mask[c * width] for c in range(weight.channels)]


def _spread(weight, units):
    width = len(weight.mask) // len(units)
    return [unit for unit in units for _ in range(width)]


def _written(weight, kept, mask, method, preset):
    """Values and optimiser state that belong to the new mask."""
    value = []
    # Dropped and regrown: nothing happened to it, in the original code and to a channel.
    keeps = preset == "google" or method == "rigl-struct"
    regrown = [keeps and new and old for new, old in zip(mask, weight.mask, strict=True)]
    for position, number in enumerate(weight.value):
        value.append(number if kept[position] or regrown[position] else 0.0)
    dense = METHODS[method][2] == "dense"
    state = {}
    for name, numbers in weight.state.items():
        state[name] = []
        for position, number in enumerate(numbers):
            if dense:
                cleared = False
            elif preset == "google":
                cleared = mask[position] and not weight.mask[position]
            else:
                cleared = not kept[position] and not regrown[position]
            state[name].append(0.0 if cleared else number)
    return Moved(kept, mask, value, state)


def prune_to(weights, count):
    """Every weight after a pruning update; the momentum stays dense."""
    masks = prune([weight.value for weight in weights], [weight.mask for weight in weights], count)
    moved = []
    for weight, mask in zip(weights, masks, strict=True):
        value = [number if active else 0.0 for number, active in zip(weight.value, mask, strict=True)]
        moved.append(Moved(mask, mask, value, dict(weight.state)))
    return moved


# Densities; a layer is (kind, shape, positions)


def numel(shape):
    product = 1
    for length in shape:
        product *= length
    return product


def raw(layer, distribution):
    _, shape, positions = layer
    if distribution == "uniform":
        return 1.0
    if distribution == "er":
        return (shape[0] + shape[1]) / (shape[0] * shape[1])
    plain = sum(shape) / numel(shape)
    return plain if distribution == "erk" else plain / positions


def densities(layers, distribution, density=None, flops=None, mask_first_conv=True, dense=()):
    """min(1, eps * raw), the eps found by bisection; `dense` holds indices.

    By `density`: of all weights but a first convolution that is left out. By `flops`: of everything.
    """
    first = next((i for i, layer in enumerate(layers) if layer[0] == "conv"), None)
    out = first if distribution == "uniform" or not mask_first_conv else None

    def at(eps):
        return [
            1.0 if index == out or index in dense else min(1.0, eps * raw(layer, distribution))
            for index, layer in enumerate(layers)
        ]

    if flops is not None:
        goal = flops * forward_flops(layers)

        def reached(eps):
            return forward_flops(layers, at(eps))
    else:
        goal = density * sum(numel(shape) for i, (_, shape, _) in enumerate(layers) if i != out)

        def reached(eps):
            found = at(eps)
            return sum(found[i] * numel(layers[i][1]) for i in range(len(layers)) if i != out)

    least, most = 0.0, max(1 / raw(layer, distribution) for layer in layers)
    for _ in range(200):
        middle = (least + most) / 2
        if reached(middle) < goal:
            least = middle
        else:
            most = middle
    return at(most)


# FLOPs


def forward_flops(layers, shares=None):
    total = 0.0
    for index, (_, shape, positions) in enumerate(layers):
        total += 2 * numel(shape) * positions * (1.0 if shares is None else shares[index])
    return total


def step_flops(forward, dense, dense_gradient):
    """Forward, backward to the activations, backward to the weights."""
    return forward + forward + (dense if dense_gradient else forward)


def training_flops(method, dense, sparse, delta_t=100, multiplier=1, source=0.0):
    """A step of training a sample, by the report's supplement, section 2.2."""
    if method == "dense":
        step = 3 * dense
    elif method in ("static", "set", "small-dense", "pruning"):
        step = 3 * sparse
    elif method == "snfs":
        step = 2 * sparse + dense
    elif method == "lottery":
        step = source + 3 * sparse
    else:
        step = (3 * delta_t * sparse + 2 * sparse + dense) / (delta_t + 1)
    return multiplier * step


def ledger(method, forwards, dense, due):
    """Mean FLOPs of a step: the steps' forward passes, each beside whether it is an update, one by one."""
    total = 0.0
    for forward, update in zip(forwards, due, strict=True):
        if method == "snfs":
            needs_all = True
        elif method.startswith("rigl"):
            needs_all = update
        else:
            needs_all = False
        total += step_flops(forward, dense, needs_all)
    return total / len(forwards)
