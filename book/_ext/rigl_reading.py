"""What every page offers its reader: its notebook and where to run it, what to cite, previews of what it
refers to.

`repository: url` of `_config.yml` is the one setting for the links to Binder, Colab and the repository;
without it there are none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml
from docutils import nodes
from markupsafe import Markup
from sphinx.application import Sphinx
from sphinx.config import Config

LONGEST = 300  # characters of a preview
FOOTER = Markup(
    "<p>Cite as: {authors} ({year}), <cite>{title}</cite>, version {version}. {licence} licence. "
    "Built on {date} from {commit}.</p>"
)


def hosts(url: str, path: str) -> list[tuple[str, str]]:
    """(name, address) of where the file at `path` can be read or run, for a repository at `url`."""
    if not url:
        return []
    owned = urlsplit(url).path.strip("/").removesuffix(".git")
    found = [("Repository", f"{url.rstrip('/').removesuffix('.git')}/blob/HEAD/{path}")]
    if urlsplit(url).netloc == "github.com" and path.endswith(".ipynb"):
        found += [
            ("Binder", f"https://mybinder.org/v2/gh/{owned}/HEAD?urlpath=lab/tree/{quote(path)}"),
            ("Colab", f"https://colab.research.google.com/github/{owned}/blob/HEAD/{path}"),
        ]
    return found


def commit(folder: Path) -> str:
    """The commit of the checkout at `folder`, short, in words."""
    done = subprocess.run(
        ["git", "-C", str(folder), "describe", "--always", "--dirty=, changed"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "files outside of git"


def write_footer(app: Sphinx, config: Config) -> None:
    """The line below every page."""
    root = Path(app.srcdir)
    moment = datetime.fromtimestamp(
        int(os.environ.get("SOURCE_DATE_EPOCH", datetime.now(UTC).timestamp())), UTC
    )
    cited: dict[str, Any] = {"title": config.project, "authors": [{"name": config.author}]}
    if (root / "CITATION.cff").exists():
        cited |= yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    config.html_theme_options["extra_footer"] = FOOTER.format(
        authors=", ".join(each.get("name") or each["family-names"] for each in cited["authors"]),
        title=cited["title"],
        version=cited.get("version", "unknown"),
        licence=cited.get("license", "No"),
        year=moment.year,
        date=f"{moment:%Y-%m-%d}",
        commit=commit(root),
    )


def offer_notebook(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Below a page's title: its notebook, and where to run it."""
    source = Path(app.srcdir, f"{page}.ipynb")
    made = source.exists() and not page.startswith("runs/")
    links = [("Notebook", source.name)] if made else []
    path = f"{page}.ipynb" if made else f"{page}.md"
    if Path(app.srcdir, path).exists():
        links += hosts(app.config.html_theme_options.get("repository_url", ""), path)
    items = Markup("").join(
        Markup('<a href="{}"{}>{}</a>').format(url, Markup(" download") if name == "Notebook" else "", name)
        for name, url in links
    )
    if items:
        bar = f'<nav class="offers" aria-label="This page elsewhere">{items}</nav>'
        context["body"] = context.get("body", "").replace("</h1>", f"</h1>{bar}", 1)


def copy_notebooks(app: Sphinx, problem: Exception | None) -> None:
    if app.builder.format == "html" and problem is None:
        for path in Path(app.srcdir).glob("notebooks/*.ipynb"):
            if Path(app.outdir, "notebooks", f"{path.stem}.html").exists():
                shutil.copyfile(path, Path(app.outdir, "notebooks", path.name))


def describe_targets(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Give each reference to a page, a section or an equation the beginning of what it refers to; citations
    have theirs from sphinxcontrib-bibtex. ``previews.js`` shows it on hover and focus."""
    known = app.env.found_docs
    for link in doctree.findall(nodes.reference):
        if not link.get("internal") or link.get("reftitle"):
            continue
        address, _, anchor = link.get("refuri", f"#{link.get('refid', '')}").partition("#")
        there = os.path.normpath(Path(page).parent / address.removesuffix(".html")) if address else page
        if there in known and (text := _beginning(app.env.get_doctree(there), anchor)):
            link["reftitle"] = text


def _beginning(document: nodes.document, anchor: str) -> str:
    """What a page, or the section or equation at `anchor` in it, begins with."""
    for node in document.findall(lambda each: isinstance(each, nodes.section | nodes.math_block)):
        if not anchor or anchor in node["ids"]:
            if isinstance(node, nodes.math_block):
                return f"$${node.astext()}$$" if anchor else ""
            text = " ".join(next(iter(node.findall(nodes.paragraph)), node).astext().split())
            short = text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(' ')[0]} ..."
            return f"{node[0].astext()}: {short}"
    return ""


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", write_footer, priority=900)  # after jupyter-book's own
    app.connect("doctree-resolved", describe_targets)
    app.connect("html-page-context", offer_notebook)
    app.connect("build-finished", copy_notebooks)
    app.add_js_file("previews.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
