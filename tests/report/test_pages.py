"""Results pages: one protocol at a time, parameters checked, nothing of torch."""

import re

import pytest

from book.report import display, pages
from report.sample import record
from rigl.training import records
from rigl.training.config import ConfigError


@pytest.fixture
def shown(project, monkeypatch):
    """What a page displays, in a project with two runs."""
    records.save(record(88.0, method="dense"), project / "results")
    records.save(record(77.0, protocol="tenth", dataset="cifar10", method="dense"), project / "results")
    found = []
    monkeypatch.setattr(display, "emit", lambda output, raw=False: found.append(output))
    return found


def page(names: str = "table2", **given) -> pages.Page:
    return pages.configure({"protocol": "laptop", **given}, set(), names)


def test_a_page_holds_each_protocol_apart(shown, monkeypatch) -> None:
    monkeypatch.setenv("RIGL_BOOK", "1")
    page().table("table2")
    blocks = re.split(r'<div data-protocol="', shown[0]["text/html"])[1:]
    assert [block.split('"')[0] for block in blocks] == ["paper", "tenth", "laptop"]
    assert ["hidden>" in block[:20] for block in blocks] == [True, True, False]
    assert ["88.00" in block for block in blocks] == [False, False, True]
    assert ["77.00" in block for block in blocks] == [False, True, False]
    assert "not the report&#39;s protocol" in blocks[2]
    assert len(set(re.findall(r'popovertarget="([^"]*)"', shown[0]["text/html"]))) == len(
        re.findall(r" popover id=", shown[0]["text/html"])
    )


def test_a_caption_says_what_its_runs_held_out_and_how_many_rows_are_whole(shown, monkeypatch) -> None:
    monkeypatch.setenv("RIGL_BOOK", "1")
    for knobs in ({}, {"protocol": "tenth", "dataset": "cifar10"}):
        records.save(record(90.0, method="dense", validation=0, **knobs), display.folder())
    page("table1 table2").table("table1")
    page("table1 table2").table("table2")
    first, second = (output["text/html"] for output in shown)
    assert "; no training images held out" in re.sub(r", (?=no training)", "; ", first)
    assert "5,000 training images held out" not in first
    assert ", 5,000 training images held out" in second
    assert "rows have runs, 0 those of 3 seeds or more." in second


def test_rows_without_runs_fold_into_one_line_with_their_command(shown, monkeypatch) -> None:
    monkeypatch.setenv("RIGL_BOOK", "1")
    page().table("table2")
    blocks = re.split(r'<div data-protocol="', shown[0]["text/html"])[1:]
    paper, tenth, laptop = (
        [part.partition("</details>")[0] for part in block.split("<details")[1:]] for block in blocks
    )
    assert "31 rows not run" in paper[0]
    assert "89.0 ± 0.35" in paper[0], "the report's numbers are there all the same"
    assert "30 more rows not run" in tenth[0]
    assert "89.0" not in tenth[0]
    assert "Small-dense, density 0.1; " in laptop[0]
    for protocol, folded in (("paper", paper), ("tenth", tenth), ("laptop", laptop)):
        assert f"run table2 --protocol {protocol} " in folded[0]


def test_a_page_opens_on_a_protocol_that_has_runs(shown) -> None:
    assert page(protocol="paper").opening == "tenth"
    assert page(protocol="laptop").opening == "laptop"
    nothing = pages.configure({"protocol": "paper"}, set(), "table3", datasets=("cifar100",))
    assert nothing.opening == "paper"


def test_the_control_names_every_protocol_and_its_runs(shown, monkeypatch) -> None:
    monkeypatch.setenv("RIGL_BOOK", "1")
    page().choose()
    options = re.findall(r'<option value="(\w+)"( selected)?>[^(]*\((\d+) runs\)', shown[0]["text/html"])
    assert options == [("paper", "", "0"), ("tenth", "", "1"), ("laptop", " selected", "1")]


def test_a_live_kernel_shows_the_protocol_asked_for(shown, monkeypatch) -> None:
    monkeypatch.delenv("RIGL_BOOK", raising=False)
    page(protocol="tenth").table("table2")
    text = "".join(each["text/html"] for each in shown)
    assert "77.00" in text
    assert "88.00" not in text


def test_seeds_are_read_and_shown(shown) -> None:
    assert page().seeds is None
    assert page(seeds="1,2").seeds == (1, 2)
    assert page(seeds=1).seeds == (1,)
    assert page(seeds=1).setups("laptop")[0].own.empty


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"protocol": "papr"}, "protocol='papr' is not on this page: choose from paper, tenth, laptop"),
        ({"run": "yes"}, "run='yes' is not right"),
        ({"seeds": "a"}, "seeds 'a' is no list of numbers"),
        ({"sedes": "1"}, "unknown parameter 'sedes' (did you mean 'seeds'?)"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(given, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        page(**given)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_page_is_about_its_data_sets() -> None:
    made = pages.configure({"protocol": "paper"}, set(), "table3", datasets=("cifar100",))
    assert made.protocols == ["paper", "tenth", "laptop"]
    assert [setup.title for setup in made.setups("paper")] == ["ResNet-50 on CIFAR-100"]
