"""Every notebook is a script that a diff can be read of, and the same without outputs as .ipynb."""

from pathlib import Path

import jupytext
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SCRIPTS = sorted(NOTEBOOKS.glob("*.py"))


def test_there_are_notebooks() -> None:
    assert SCRIPTS
    assert {path.stem for path in SCRIPTS} == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_pair_agrees(script: Path) -> None:
    # One way, and nothing by age of file: a clone scrambles the times that jupytext --sync goes by.
    made = nbformat.reads(jupytext.writes(jupytext.read(script, fmt="py:percent"), "ipynb"), as_version=4)
    kept = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert kept.metadata == made.metadata
    fields = ("cell_type", "metadata", "source")
    assert [[cell[f] for f in fields] for cell in kept.cells] == [
        [cell[f] for f in fields] for cell in made.cells
    ], f"jupytext --to ipynb notebooks/{script.name}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(script: Path) -> None:
    for cell in nbformat.read(script.with_suffix(".ipynb"), as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
