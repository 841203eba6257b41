"""``python -m rigl.tuning run|status``: see ``--help``."""

import sys

from rigl.tuning.cli import main

if __name__ == "__main__":
    sys.exit(main())
