"""Studies of alpha and Delta-T: their trials, the best one against the reference, and the space searched."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from book.report import display, figures, names, runs
from book.report.runs import Study, Trial
from book.report.statistics import in_words, sample
from rigl.training.config import RunConfig

HOVER = "trial %{customdata[0]}<br>alpha %{y:.3f}, Delta-T %{x}<br>%{customdata[1]}<extra></extra>"


def show() -> None:
    """Display every study of the project: what it gained, its trials, where they lie."""
    found, frame = list(runs.studies(display.folder())), runs.load(searched=True)
    if not found:
        display.show_text("No study has been made yet: `python -m rigl.campaign tune` does.")
    for study in found:
        display.show_heading(_title(study))
        display.show_text(verdict(study, frame))
        display.show_table(
            against_reference(study, frame), "Mean ± sample standard deviation over seeds, by the runs named."
        )
        figures.show(space(study), seen(study))
        display.show_table(trials(study), caption(study))


def _title(study: Study) -> str:
    config = study.settings.config
    setting = names.setting(config.method, config.distribution_name)
    return f"{setting} at {config.size}: {names.place(config.model, config.dataset)}"


def trials(study: Study) -> pd.DataFrame:
    """Every finished trial, a row each, in the order of their start."""
    best = study.best
    rows = [
        {
            "Trial": f"{trial.number} (best)" if trial is best else str(trial.number),
            "alpha": f"{trial.alpha:.3f}",
            "Delta-T": trial.delta_t,
            "Validation accuracy, %": "failed" if trial.value is None else f"{trial.value:.2f}",
            "Runs": _links(study.settings.config.dataset, trial.runs),
        }
        for trial in study.trials
    ]
    return pd.DataFrame(rows)


def against_reference(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """The best trial and the reference, a row each, by their runs in `frame`."""
    config, best = study.settings.config, study.best
    rows = [_line("reference", config.alpha, config.delta_t, study.settings.reference(), frame)]
    if best:
        tried = study.settings.runs(best.alpha, best.delta_t)
        rows.insert(0, _line(f"best of {len(study.complete)}", best.alpha, best.delta_t, tried, frame))
    return pd.DataFrame(rows)


def verdict(study: Study, frame: pd.DataFrame) -> str:
    """One sentence on what the search gained, in test accuracy.

    The best of several trials is picked by its validation accuracy, which is therefore too high; the test
    images played no part. A difference counts where Welch's interval over the seeds leaves 0 out.
    """
    if study.best is None:
        return "No trial is complete yet."
    best = study.best
    pairs = pd.DataFrame(
        {
            "best": _accuracies(study.settings.runs(best.alpha, best.delta_t), frame, "test_accuracy"),
            "reference": _accuracies(study.settings.reference(), frame, "test_accuracy"),
        }
    ).dropna()
    reference = study.settings.config
    what = (
        f"alpha = {best.alpha:.3f} and Delta-T = {best.delta_t}, the best of {len(study.complete)} trials, "
        f"against alpha = {reference.alpha:g} and Delta-T = {reference.delta_t}"
    )
    if pairs.empty:
        return f"{what}: no seed has both runs yet."
    tried, usual = (sample(name, pairs[name].tolist()) for name in ("best", "reference"))
    return f"{what}: test accuracy {in_words(tried, usual)}."


def space(study: Study) -> go.Figure:
    """Where the trials lie, coloured by validation accuracy (percent), with the reference marked."""
    fig = go.Figure()
    complete, best, reference = study.complete, study.best, study.settings.config
    if len(complete) > 3:
        # Between trials, as straight as can be: a contour needs a value at every crossing.
        fig.add_contour(
            x=[trial.delta_t for trial in complete],
            y=[trial.alpha for trial in complete],
            z=[trial.value for trial in complete],
            connectgaps=True,
            colorscale="Cividis",
            opacity=0.5,
            showscale=False,
            contours={"coloring": "heatmap"},
            line={"width": 0.5, "color": figures.GREY},
            hoverinfo="skip",
        )
    fig.add_scatter(
        **_places(complete),
        mode="markers+text",
        name="trial",
        text=[str(trial.number) for trial in complete],
        textposition="top center",
        marker={
            "color": [trial.value for trial in complete],
            "colorscale": "Cividis",
            "colorbar": {"title": {"text": "%"}, "thickness": 12},
            "size": 12,
            "line": {"width": 1, "color": figures.GREY},
        },
    )
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if failed:
        marker = {"symbol": "x", "size": 10, "color": figures.VERMILION}
        fig.add_scatter(**_places(failed), mode="markers", name="failed", marker=marker)
    if best:
        marker = {"symbol": "circle-open", "size": 22, "color": figures.ORANGE, "line": {"width": 3}}
        fig.add_scatter(**_places([best]), mode="markers", name="best", marker=marker)
    fig.add_scatter(
        x=[reference.delta_t],
        y=[reference.alpha],
        mode="markers",
        name="reference",
        marker={"symbol": "diamond-open", "size": 13, "color": figures.BLUE, "line": {"width": 2}},
        hovertemplate="reference<br>alpha %{y:.3f}, Delta-T %{x}<extra></extra>",
    )
    low, high = study.settings.alpha
    first, last, step = study.settings.delta_t
    figures.styled(fig, height=420, xaxis_title="Delta-T, steps", yaxis_title="alpha")
    fig.update_xaxes(range=[first - step, last + step])
    return fig.update_yaxes(range=[low - 0.03, high + 0.06])  # a number above the highest trial


def seen(study: Study) -> str:
    """What one sees in `space`."""
    complete, reference = study.complete, study.settings.config
    if study.best is None:
        return "The space searched; no trial is complete yet."
    values = [trial.value for trial in complete if trial.value is not None]
    return (
        f"The {len(complete)} complete trials by Delta-T and alpha, coloured by validation accuracy, from "
        f"{min(values):.2f} to {max(values):.2f} %; the best is circled, at {study.best.delta_t} and "
        f"{study.best.alpha:.3f}, and a diamond marks the reference, {reference.delta_t} and "
        f"{reference.alpha:g}."
    )


def caption(study: Study) -> str:
    """What stands under a study's table."""
    config, seeds = study.settings.config, study.settings.seeds
    return (
        f"{_title(study)}, protocol “{config.protocol}”, "
        f"{config.total_epochs} epochs: validation accuracy after the last epoch, mean over "
        f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}. Sampler: {study.sampler} of Optuna "
        f"{study.optuna}, seed {study.settings.sampler_seed}. Runs by the last part of their records' names."
    )


def _places(found: list[Trial]) -> dict[str, object]:
    values = [trial.error if trial.value is None else f"{trial.value:.2f} %" for trial in found]
    return {
        "x": [trial.delta_t for trial in found],
        "y": [trial.alpha for trial in found],
        "customdata": [[trial.number, value] for trial, value in zip(found, values, strict=True)],
        "hovertemplate": HOVER,
    }


def _line(
    name: str, alpha: float, delta_t: int, configs: list[RunConfig], frame: pd.DataFrame
) -> dict[str, object]:
    validation = _accuracies(configs, frame, "validation_accuracy").dropna()
    test = _accuracies(configs, frame, "test_accuracy").dropna()
    return {
        "Setting": name,
        "alpha": f"{alpha:.3f}",
        "Delta-T": delta_t,
        "Validation accuracy, %": display.accuracy(validation.mean(), validation.std()),
        "Test accuracy, %": display.accuracy(test.mean(), test.std()),
        "Seeds": f"{len(test)} of {len(configs)}",
        "Runs": _links(configs[0].dataset, [config.name for config in configs]),
    }


def _accuracies(configs: list[RunConfig], frame: pd.DataFrame, column: str) -> pd.Series:
    """Accuracies of `configs` by seed; NaN where there is no record, or it diverged."""
    known = frame.set_index("name")[column].astype(float)
    return pd.Series({config.seed: known.get(config.name, float("nan")) for config in configs}, dtype=float)


def _links(dataset: str, found: Sequence[str]) -> Markup:
    """Links to records, each under the last part of its name."""
    return Markup(", ").join(display.record_link(dataset, name) for name in found)
