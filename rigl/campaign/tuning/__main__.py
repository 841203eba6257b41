"""``python -m rigl.campaign.tuning run|status``: see ``--help``."""

import sys

from rigl.campaign.tuning.cli import main

if __name__ == "__main__":
    sys.exit(main())
