"""What the book asks of Sphinx beyond `_config.yml`.

Pages are read on all cores; kernels find the package and the project; plotly.js is served from the book
itself, and only to pages with a plot; scripts that Jupyter Book adds twice or for a service elsewhere are
left out, and so are widgets, which do nothing without a kernel. Run records are served beside the pages that
link to them. `rigl_reading` has what every page offers its reader.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

from docutils import nodes
from jupyter_client.manager import KernelManager
from plotly.offline import get_plotlyjs
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from rigl.campaign import studies
from rigl.training import records

log = logging.getLogger(__name__)
PLOTLY = "vendor/plotly.min.js"
PLOT = 'class="plotly-graph-div'
# Thebe points at a CDN; both scripts are declared twice, which is an error in the console; a widget's
# state is of no use without a kernel.
UNWANTED = ("thebe", "toggle", "widget-state")
# Sphinx would read page by page because of these, which do not say whether they are safe in parallel: both
# act before pages are read or after.
SILENT = ("sphinx-mathjax-offline", "sphinx_multitoc_numbering")
WIDGET = "application/vnd.jupyter.widget-view+json"


def name_damaged(app: Sphinx) -> None:
    """Pages leave damaged records out and hide what a kernel prints: name them where the book is built. No
    warning of Sphinx's, which would be an error."""
    results = Path(app.srcdir, "results")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(records.records(results))
        list(studies.studies(results))
    for warning in caught:
        print(warning.message, file=sys.stderr)


def prepare_kernels(app: Sphinx) -> None:
    """Kernels start in their notebook's folder and inherit this process's environment."""
    root = str(app.srcdir)
    sys.path.insert(0, root)
    os.environ["RIGL_ROOT"] = root
    os.environ["RIGL_BOOK"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def read_in_parallel(app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
    """Each core executes its share of the notebooks; jupyter-book itself has no option for that."""
    app.parallel = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in set(SILENT) & set(app.extensions):
        app.extensions[name].parallel_read_safe = True


def keep_kernels_apart(app: Sphinx) -> None:
    """Have kernels listen on sockets named after them. Processes that execute pages side by side choose ports
    without knowing of each other, and of two kernels given one port the second dies."""
    if os.name != "posix":
        return
    begin, folder = KernelManager.__init__, tempfile.mkdtemp(prefix="book-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def begin_apart(self: KernelManager, *arguments: Any, **knobs: Any) -> None:
        socket = f"{folder}/{uuid4().hex}"
        begin(self, *arguments, **{"transport": "ipc", "ip": socket, **knobs})

    KernelManager.__init__ = begin_apart


def write_plotly(app: Sphinx) -> None:
    if app.builder.format == "html":
        target = Path(app.outdir) / "_static" / PLOTLY
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(get_plotlyjs(), encoding="utf-8")


def copy_records(app: Sphinx, problem: Exception | None) -> None:
    """Tables link to the records behind them and to the report's numbers, at the place that these have beside
    the notebooks; all of them are there as one file too."""
    if app.builder.format == "html" and problem is None:
        from book.report import results as every  # not before `prepare_kernels` has named the project
        from book.report import runs

        results = Path(app.srcdir, "results")
        for path in (results / "published.json", *results.glob("[!.]*/**/*.json")):
            target = Path(app.outdir) / path.relative_to(app.srcdir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        every.save(runs.load(results, searched=True), results, Path(app.outdir) / "results")


def leave_out_failed_runs(app: Sphinx, config: Config) -> None:
    """Papermill keeps a notebook that failed; it is for whoever ran it, not for readers."""
    for path in sorted(Path(app.srcdir).glob("runs/*.ipynb")):
        if '"output_type": "error"' in path.read_text(encoding="utf-8"):
            config.exclude_patterns.append(path.relative_to(app.srcdir).as_posix())
            log.info("%s failed and is left out of the book", path.name)


def name_run(app: Sphinx, page: str, source: list[str]) -> None:
    """Runs come from one notebook and share its title: tell them apart by their files' names."""
    if page.startswith("runs/"):
        source[0] = source[0].replace("# One training run", f"# Run: {Path(page).name}", 1)


def choose_outputs(app: Sphinx, doctree: nodes.document) -> None:
    """Drop widgets, whose text is that of the moment they were made, such as a bar at 0%; and warn of an
    output that no page can show, which would otherwise vanish without a word."""
    for bundle in [
        node for node in doctree.findall(nodes.container) if node.get("nb_element") == "mime_bundle"
    ]:
        kinds = [child["mime_type"] for child in bundle.children]
        if not kinds:
            log.warning(
                "an output has no form for a page: show figures by book.report.figures.show", location=bundle
            )
        if WIDGET in kinds:
            bundle.parent.remove(bundle)


def name_citations(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Docutils gives citations a role that a list may not hold: a screen reader would find the list empty."""
    context["body"] = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')


def choose_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if PLOT in context.get("body", ""):
        app.add_js_file(PLOTLY, priority=100)  # before the plots' own inline scripts
        app.add_js_file("plots.js", loading_method="defer")
    context["script_files"] = [
        script
        for script in context["script_files"]
        if not any(word in f"{script.filename} {script.attributes}" for word in UNWANTED)
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", name_damaged)
    app.connect("builder-inited", prepare_kernels)
    app.connect("builder-inited", keep_kernels_apart)
    app.connect("builder-inited", write_plotly)
    app.connect("config-inited", leave_out_failed_runs)
    app.connect("env-before-read-docs", read_in_parallel)
    app.connect("source-read", name_run)
    app.connect("doctree-read", choose_outputs)
    app.connect("build-finished", copy_records)
    app.connect("html-page-context", name_citations)
    app.connect("html-page-context", choose_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
