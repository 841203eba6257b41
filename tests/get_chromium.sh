#!/bin/sh
# A Chromium for the browser tests: one that is there, else Debian's package, else playwright's own.
# Never fails: without one those tests skip and say so.
bin=$1
find_one() {
    "$bin/python" - <<'PY'
import shutil
import sys
from pathlib import Path
from playwright.sync_api import sync_playwright
from book.report.pdf import BROWSERS
with sync_playwright() as p:
    sys.exit(not (any(map(shutil.which, BROWSERS)) or Path(p.chromium.executable_path).exists()))
PY
}
find_one && exit 0
echo "no Chromium for the browser tests: trying to get one"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update >/dev/null 2>&1
    for package in chromium-headless-shell chromium; do
        apt-get install -y --no-install-recommends $package >/dev/null 2>&1 && break
    done
fi
find_one || "$bin/playwright" install chromium >/dev/null 2>&1
find_one || echo "NO CHROMIUM could be had: the browser tests will be SKIPPED" >&2
exit 0
