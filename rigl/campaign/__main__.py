"""``python -m rigl.campaign plan|run|status|export|verify``: see ``--help``."""

import sys

from rigl.campaign.cli import main

if __name__ == "__main__":
    sys.exit(main())
