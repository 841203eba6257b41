"""The worked update in results/ is what the package does now."""

import json

from rigl.training import worked


def test_worked_update_is_up_to_date() -> None:
    assert json.loads(worked.PATH.read_text()) == worked.worked(), "python -m rigl.training.worked"
