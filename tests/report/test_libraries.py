"""Each cell of the comparison has what shows it: ours tests that exist, theirs a file at a commit."""

import re

import pytest

from book.report import libraries
from rigl.training.project import root

DATA = libraries.load()
ROWS = pytest.mark.parametrize("row", DATA["rows"], ids=lambda row: row["key"])


@ROWS
def test_our_answer_names_tests_that_exist(row) -> None:
    ours = row["ours"]
    assert ours["text"]
    if "file" in ours:
        assert (root() / ours["file"]).is_file()
        return
    assert ours["tests"]
    for test in ours["tests"]:
        assert f"def {test.partition('::')[2]}(" in libraries.source_of(test)


@ROWS
def test_their_answers_have_sources(row) -> None:
    assert set(row["theirs"]) <= set(DATA["libraries"])
    for cell in row["theirs"].values():
        assert cell["text"]
        assert cell["source"] in DATA["sources"]


def test_sources_are_files_at_commits_or_pages() -> None:
    used = {cell["source"] for row in DATA["rows"] for cell in row["theirs"].values()}
    assert used == set(DATA["sources"])
    for source in DATA["sources"].values():
        assert source["url"].startswith("https://")
        if "commit" in source:
            repository, path = source["read"].split(", ")
            assert re.fullmatch("[0-9a-f]{40}", source["commit"])
            assert source["url"] == f"https://github.com/{repository}/blob/{source['commit']}/{path}"
        else:
            assert "/blob/" not in source["url"], "a file needs its commit"


def test_rows_are_told_apart() -> None:
    keys = [row["key"] for row in DATA["rows"]]
    assert len(set(keys)) == len(keys) >= 15


def test_the_page_says_what_was_not_found() -> None:
    table = libraries.table()
    assert table.shape == (len(DATA["rows"]), 2 + len(DATA["libraries"]))
    flops = table[table["Question"] == "FLOPs"].iloc[0]
    assert "tests/sparsity/test_layers.py::test_agrees_with_torchs_own_counter" in flops[libraries.OURS]
    assert (flops[2:] == libraries.MISSING).all()
    assert (table == libraries.MISSING).sum().sum() == sum(
        len(DATA["libraries"]) - len(row["theirs"]) for row in DATA["rows"]
    )


def test_a_tests_source_is_shown_as_it_stands() -> None:
    test = "tests/sparsity/test_ddp.py::test_two_ranks_equal_one_process"
    assert libraries.source_of(test).startswith("@pytest.mark.parametrize(")
    cell = str(libraries.table().set_index("Question").loc["Several processes (DDP)", libraries.OURS])
    assert "\n" not in cell
    assert libraries.source_of(test).splitlines()[1] in cell.replace("&#10;", "\n")
    with pytest.raises(ValueError, match=r"no test .*test_tea"):
        libraries.source_of("tests/sparsity/test_ddp.py::test_tea")


def test_tests_are_counted() -> None:
    found = [
        line
        for path in (root() / "tests" / "sparsity").glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("def test_")
    ]
    assert libraries.count_tests() == len(found) > 100
