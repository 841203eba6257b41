"""Where a page can be read or run elsewhere, from the one setting that names the repository."""

import pytest
import yaml

from book._ext.rigl_reading import hosts
from book.report import parameters

GITHUB = "https://github.com/somebody/rigl-book"


@pytest.mark.parametrize("url", [GITHUB, f"{GITHUB}/", f"{GITHUB}.git"])
def test_a_repository_on_github_gives_binder_and_colab(url) -> None:
    found = dict(hosts(url, "notebooks/method.ipynb"))
    assert found == {
        "Repository": f"{GITHUB}/blob/HEAD/notebooks/method.ipynb",
        "Binder": "https://mybinder.org/v2/gh/somebody/rigl-book/HEAD?urlpath=lab/tree/notebooks/method.ipynb",
        "Colab": "https://colab.research.google.com/github/somebody/rigl-book/blob/HEAD/notebooks/method.ipynb",
    }
    assert list(dict(hosts(url, "book/api.md"))) == ["Repository"]


def test_elsewhere_there_is_the_repository_alone_and_without_one_nothing() -> None:
    assert [name for name, _ in hosts("https://codeberg.org/a/b", "notebooks/use.ipynb")] == ["Repository"]
    assert hosts("", "notebooks/use.ipynb") == []


@pytest.mark.parametrize(
    ("url", "told"), [(GITHUB, f"git clone --depth 1 {GITHUB} "), ("", "names a repository")]
)
def test_what_colab_needs_follows_the_setting(tmp_path, monkeypatch, url, told) -> None:
    (tmp_path / "_config.yml").write_text(yaml.safe_dump({"repository": {"url": url}}))
    monkeypatch.setenv("RIGL_ROOT", str(tmp_path))
    assert told in parameters.on_colab()
