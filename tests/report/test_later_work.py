"""What later work prints: every row has a source that is in the bibliography, and a claim of ours."""

import re

import pytest

from book.report import later_work, verdicts
from book.report.claims import CLAIMS
from book.report.evidence import DEARER
from rigl.training.project import root

DATA = later_work.load()
BIBLIOGRAPHY = (root() / "book" / "references.bib").read_text(encoding="utf-8")
WORKS = set(re.findall(r"^@\w+\{(\w+),", BIBLIOGRAPHY, re.M))
COSTS = "training FLOPs, x dense"
# Claims that are about a like cost, by their own words.
LIKE_COST = {each.key for each in CLAIMS if re.search("(equal|similar) (cost|FLOPs)", each.text)}
# What stands against what in a claim, as rows name them.
SIDES = {
    "rigl-beats-set": ("RigL", "SET"),
    "rigl-beats-static": ("RigL", "static"),
    "longer-matches-pruning": ("RigL", "pruning"),
    "erk-at-equal-parameters": ("ERK", "uniform"),
    "uniform-at-equal-flops": ("ERK", "uniform"),
    "snfs-better": ("SNFS", "RigL"),
    "snfs-costs": ("SNFS", "RigL"),
}
IN_WORDS = {("rigl-beats-static", "fantastic")}  # the caption of a figure says which side is ahead


@pytest.mark.parametrize(
    "row", DATA["rows"], ids=lambda row: f"{row['claim']} {row['source']} {row['place']}"
)
def test_a_row_has_a_source_a_claim_and_printed_figures(row) -> None:
    source = DATA["sources"][row["source"]]
    assert source["work"] in WORKS
    assert source["read"]
    assert source["url"].startswith("https://")
    assert row["claim"] in {claim.key for claim in CLAIMS}
    assert row["stance"] in ("agrees", "disagrees", "qualifies")
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
    single = [each for each in mine if each.verdict == "no interval"]
    assert len(single) < len(mine)
    assert [each for each in mine if verdicts.brief(each) in page] == [x for x in mine if x not in single]
    assert "uniform, density 0.2 74.60, ERK, density 0.1 73.07 (top-1, %)" in page
    assert "uniform 0.23, ERK 0.24 (training FLOPs, x dense)" in page
    assert "google-research/rigl, README.md at e4254e9b" in page
    assert "not tested" in later_work.html(key, [])


def test_only_a_comparison_of_both_sides_agrees_or_disagrees() -> None:
    taken = [row for row in DATA["rows"] if row["stance"] != "qualifies"]
    assert {row["claim"] for row in taken} <= set(SIDES)
    for row in taken:
        named = " ".join(number["what"] for number in row["numbers"])
        if (row["claim"], row["source"]) not in IN_WORDS:
            assert [side for side in SIDES[row["claim"]] if side not in named] == [], row["place"]


def test_a_row_at_unequal_cost_says_so_and_only_qualifies_a_claim_about_like_cost() -> None:
    assert {"rigl-beats-set", "longer-matches-pruning", "uniform-at-equal-flops"} <= LIKE_COST
    unequal = 0
    for row in DATA["rows"]:
        costs = [float(number["value"]) for number in row["numbers"] if number["unit"] == COSTS]
        if costs and max(costs) > DEARER * min(costs):
            unequal += 1
            assert re.search("cost|FLOPs", row["says"]), row["place"]
            assert row["stance"] == "qualifies" or row["claim"] not in LIKE_COST, row["place"]
    assert unequal > 2
    chase = [x for x in DATA["rows"] if (x["claim"], x["source"]) == ("rigl-beats-set", "chase")]
    assert {(row["stance"], "not at equal cost" in row["says"]) for row in chase} == {("qualifies", True)}


@pytest.mark.parametrize(
    ("stances", "together"),
    [
        (["agrees"], "agrees"),
        (["agrees", "qualifies"], "agrees"),
        (["qualifies", "disagrees"], "disagrees"),
        (["agrees", "disagrees"], "divided"),
        (["divided", "agrees"], "divided"),
        (["qualifies"], "qualifies"),
    ],
)
def test_stances_come_to_one(stances, together) -> None:
    assert later_work.combined(stances) == later_work.combined(stances[::-1]) == together
    assert together in later_work.TOGETHER


def replace_rows(monkeypatch, *rows: tuple[str, str, str]) -> None:
    named = [dict(zip(["claim", "source", "stance"], row, strict=True)) for row in rows]
    monkeypatch.setattr(later_work, "load", lambda: {**DATA, "rows": named})


def test_a_work_counts_once_for_a_claim(monkeypatch) -> None:
    one, other = (claim.key for claim in CLAIMS[:2])
    replace_rows(
        monkeypatch,
        (one, "rigl", "agrees"),
        (one, "rigl", "agrees"),
        (one, "rigl", "qualifies"),
        (one, "chase", "agrees"),
        (one, "itop", "agrees"),
        (one, "itop", "disagrees"),
        (other, "rigl", "disagrees"),
    )
    assert later_work.by_work(one) == {
        "evci2020rigging": "agrees",
        "yin2023chase": "agrees",
        "liu2021itop": "divided",
    }
    assert later_work.by_work(other) == {"evci2020rigging": "disagrees"}
    shown = []
    monkeypatch.setattr(later_work.display, "show_table", lambda table, *_, **__: shown.append(table))
    later_work.show_summary([])
    assert list(shown[0]["Other work"]) == ["✓ 2 agree<br>± 1 is divided", "✗ 1 disagrees"]


def test_two_sources_of_one_work_are_one_work(monkeypatch) -> None:
    sources = {**DATA["sources"], "again": DATA["sources"]["rigl"]}
    key = CLAIMS[0].key
    rows = [{"claim": key, "source": name, "stance": "agrees"} for name in ("rigl", "again")]
    monkeypatch.setattr(later_work, "load", lambda: {**DATA, "sources": sources, "rows": rows})
    assert later_work.by_work(key) == {"evci2020rigging": "agrees"}


def test_what_is_said_in_short_counts_works_and_claims(monkeypatch) -> None:
    one, other, third = (claim.key for claim in CLAIMS[:3])
    replace_rows(
        monkeypatch,
        (one, "rigl", "agrees"),
        (one, "rigl", "agrees"),
        (one, "chase", "disagrees"),
        (other, "rigl", "qualifies"),
        (third, "chase", "agrees"),
    )
    assert later_work.in_short() == (
        "2 works bear on 3 of the report's claims. Taken together, what they say agrees with 1, if sometimes "
        "under conditions; is divided on 1; only adds conditions to 1."
    )
    replace_rows(monkeypatch, (one, "rigl", "qualifies"), (one, "rigl", "qualifies"))
    assert later_work.in_short() == (
        "1 work bears on 1 of the report's claims. Taken together, what they say only adds conditions to 1."
    )


def test_a_claim_that_nothing_bears_on_is_named() -> None:
    with pytest.raises(ValueError, match="no later work bears on 'tea'"):
        later_work.html("tea", [])
