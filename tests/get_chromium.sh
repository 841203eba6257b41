#!/bin/sh
# A Chromium for the browser tests: one that is there, else Debian's package, else playwright's own.
# Never fails: without one those tests skip and say so.
bin=$1
find_one() {
    command -v chromium chromium-browser google-chrome >/dev/null 2>&1 ||
        "$bin/python" - <<'PY'
import sys
from pathlib import Path
from playwright.sync_api import sync_playwright
with sync_playwright() as p:
    sys.exit(not Path(p.chromium.executable_path).exists())
PY
}
find_one && exit 0
echo "no Chromium for the browser tests: trying to get one"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1
fi
find_one || "$bin/playwright" install chromium >/dev/null 2>&1
find_one || echo "NO CHROMIUM could be had: the browser tests will be SKIPPED" >&2
exit 0
