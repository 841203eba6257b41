"""A reader's parts work on a machine without torch."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import importlib, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "optuna"):
            raise ImportError(name + " is not to be imported")

sys.meta_path.insert(0, Block())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_report_and_the_first_floor_need_no_torch() -> None:
    first = [f"sparsity.{name}" for name in ("distributions", "flops", "methods", "schedules", "shapes")]
    first += ["training.config", "training.records", "campaign.experiments", "campaign.studies"]
    report = [f"book.report.{path.stem}" for path in (ROOT / "book" / "report").glob("[!_]*.py")]
    assert len(report) > 10
    names = ["rigl", *(f"rigl.{name}" for name in first), *report]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
