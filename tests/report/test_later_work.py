"""What later work prints: every row has a source that is in the bibliography, and a claim of ours."""

import re

import pytest

from book.report import later_work, verdicts
from book.report.claims import CLAIMS
from rigl.training.project import root

DATA = later_work.load()
BIBLIOGRAPHY = (root() / "book" / "references.bib").read_text(encoding="utf-8")
WORKS = set(re.findall(r"^@\w+\{(\w+),", BIBLIOGRAPHY, re.M))


@pytest.mark.parametrize(
    "row", DATA["rows"], ids=lambda row: f"{row['claim']} {row['source']} {row['place']}"
)
def test_a_row_has_a_source_a_claim_and_printed_figures(row) -> None:
    source = DATA["sources"][row["source"]]
    assert source["work"] in WORKS
    assert source["read"]
    assert source["url"].startswith("https://")
    assert row["claim"] in {claim.key for claim in CLAIMS}
    assert row["stance"] in later_work.STANCES
    for number in row["numbers"]:
        assert re.fullmatch(r"\d+(\.\d+)?(±\d+\.\d+)?", number["value"]), "a figure as it is printed"
        assert number["what"]
        assert number["unit"]
    assert not re.search(r"\d", row["says"]), "a figure is data, not prose"


def test_a_file_is_read_at_a_commit() -> None:
    for source in DATA["sources"].values():
        if "github.com" in source["url"]:
            repository, path = source["read"].split(", ")
            assert re.fullmatch("[0-9a-f]{40}", source["commit"])
            assert source["url"] == f"https://github.com/{repository}/blob/{source['commit']}/{path}"


def test_nothing_is_named_that_is_not_used_or_not_in_the_bibliography() -> None:
    assert {row["source"] for row in DATA["rows"]} == set(DATA["sources"])
    assert {each["work"] for each in DATA["unread"]} <= WORKS
    page = (root() / "notebooks" / "since_2021.py").read_text(encoding="utf-8")
    cited = set(re.findall(r"\w+", " ".join(re.findall(r"\{cite\}`([^`]*)`", page.replace("\n# ", " ")))))
    assert cited <= WORKS
    assert {source["work"] for source in DATA["sources"].values()} <= cited
    assert {each["work"] for each in DATA["unread"]} <= cited


def test_the_bibliography_links_each_work() -> None:
    entries = re.split(r"^@", BIBLIOGRAPHY, flags=re.M)[1:]
    assert len(entries) >= 18
    assert [each for each in entries if not re.search(r"(eprint|doi) = ", each)] == []


def test_the_page_has_a_section_for_each_claim() -> None:
    page = (root() / "notebooks" / "since_2021.py").read_text(encoding="utf-8")
    assert re.findall(r'later_work.show\("([\w.-]+)"', page) == [claim.key for claim in later_work.claims()]


def test_a_verdict_stands_beside_what_is_printed() -> None:
    found = verdicts.load()
    key = "uniform-at-equal-flops"
    page = later_work.html(key, found)
    mine = [each for each in found if each.claim.key == key and each.verdict != "not tested"]
    single = [each for each in mine if "fewer than two seeds" in each.why]
    assert len(single) < len(mine)
    assert [each for each in mine if verdicts.brief(each) in page] == [x for x in mine if x not in single]
    assert "uniform, density 0.2 74.60, ERK, density 0.1 73.07 (top-1, %)" in page
    assert "uniform 0.23, ERK 0.24 (training FLOPs, x dense)" in page
    assert "google-research/rigl, README.md at e4254e9b" in page
    assert "not tested" in later_work.html(key, [])


def test_what_is_said_in_short_follows_the_rows(monkeypatch) -> None:
    keys = [claim.key for claim in CLAIMS[:2]]
    rows = [
        {"claim": key, "source": "rigl", "stance": stance}
        for key, stance in zip([keys[0], keys[0], keys[1]], ["agrees", "disagrees", "qualifies"], strict=True)
    ]
    monkeypatch.setattr(later_work, "load", lambda: {**DATA, "rows": rows})
    assert later_work.in_short() == (
        "3 results from 1 works bear on 2 of the report's claims. Later work is divided on 1; only adds "
        "conditions to 1."
    )


def test_a_claim_that_nothing_bears_on_is_named() -> None:
    with pytest.raises(ValueError, match="no later work bears on 'tea'"):
        later_work.html("tea", [])
