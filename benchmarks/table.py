"""A benchmark's figures, a line each."""

from __future__ import annotations

from typing import Any

UNITS = {"seconds": "s", "bytes": "bytes"}
Row = tuple[str, str, str]


def table(found: dict[str, Any]) -> str:
    """Ratios with their quartiles first, then what they were computed from."""
    rows: list[Row] = [
        (name, f"{r['median']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}")
        for name, r in found["ratios"].items()
    ]
    rows += [
        (
            f"{name}, a step" if "two runs" not in name else name,
            f"{1000 * s['median']:.2f} ms",
            f"{1000 * s['low']:.2f} to {1000 * s['high']:.2f}",
        )
        for name, s in found["seconds"].items()
    ]
    rows += [
        (name, f"{r['median']:.3g}", f"{r['low']:.3g} to {r['high']:.3g}")
        for name, r in found["rates"].items()
    ]
    rows += [(f"{name}, images a second", f"{n:.0f}", "") for name, n in found["images_per_second"].items()]
    for key, value in found.items():
        unit = UNITS.get(key.rpartition("_")[2])
        if unit and isinstance(value, int | float):
            rows.append((key.rpartition("_")[0].replace("_", " "), f"{value:,} {unit}", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    head = f"{found['model']} at batch {found['batch']}, {found['device']}, {found['precision']}, "
    return "\n".join(
        [head + f"{found['threads']} threads, {found['engine']} steps, bound by {found['limit']}"]
        + [f"{name:{widths[0]}}  {value:>{widths[1]}}  {spread}".rstrip() for name, value, spread in rows]
    )


def verdicts(found: dict[str, Any]) -> str:
    """What `benchmarks.verify` found, a line a method and precision."""
    lines = [
        f"{row['method']:12} {row['precision']:8} {'agrees' if row['passed'] else 'DIFFERS'}: loss apart by "
        f"{row['loss_gap']:.2g} (allowed {row['allowed_gap']:.2g}), {row['mask_positions_that_differ']} mask "
        f"positions, {row['updates']} updates"
        for row in found["rows"]
    ]
    verdict = "captured steps agree with eager ones" if found["passed"] else "captured steps stay off"
    return "\n".join([*lines, f"{found['steps']} steps each on {found['device']}: {verdict}"])
