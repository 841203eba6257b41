"""The pages of the book, and what links and anchors a page has."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

ROOT = Path(__file__).parents[2]
OF_SPHINX = ["search", "genindex"]


def listed(toc: dict[str, object] | None = None) -> list[str]:
    """Every page's name, as _toc.yml has it; for runs the one that the test's book is built with."""
    if toc is None:
        toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
        return [*dict.fromkeys([str(toc["root"]), *listed(toc)]), *OF_SPHINX]
    found = []
    for part in ("parts", "chapters", "sections"):
        for entry in toc.get(part, ()):
            if "glob" in entry:
                found.append(entry["glob"].replace("*", "train"))
            found += [entry["file"]] if "file" in entry else []
            found += listed(entry)
    return found


class _Links(HTMLParser):
    """What a page refers to, and the anchors in it."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = {""}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.targets.add(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken_links(site: Path) -> list[str]:
    """``"page: target"`` for each link, script, style or picture that is not in `site`, and each anchor that
    its page does not have."""
    pages = {}
    for path in site.rglob("*.html"):
        if "_static" not in path.relative_to(site).parts:
            pages[path] = _Links()
            pages[path].feed(path.read_text())
    broken = []
    for path, links in pages.items():
        for target in sorted(links.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[there].anchors if there in pages else {parts.fragment}
            if not there.exists() or unquote(parts.fragment) not in anchors:
                broken.append(f"{path.relative_to(site)}: {target}")
    return broken
