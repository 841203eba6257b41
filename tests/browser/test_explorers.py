"""The drawn explorers show what Python has, by keyboard too, and a link shows what its sender saw."""

import re

import pytest

from book.report.accuracy_explorer import AXES, FIRST

pytestmark = [pytest.mark.book, pytest.mark.browser]
DATA = """name => JSON.parse(
  document.querySelector(`.${name} script[type="application/json"]`).textContent)"""
# The texts that cover another of the same plot.
OVERLAPS = """name => {
  const texts = [...document.querySelectorAll(`.${name} .chart text:not([transform])`)];
  const boxes = texts.map((text) => text.getBoundingClientRect());
  const cross = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 &&
    a.top < b.bottom - 4 && b.top < a.bottom - 4;
  return texts.filter((_, at) => boxes.some((box, other) => other !== at && cross(box, boxes[at])))
    .map((text) => text.textContent);
}"""


def shown(page) -> list[str]:
    """What the marks are called, each by what a screen reader says of it."""
    return page.locator(".accuracy [role=button]").evaluate_all(
        "found => found.map((mark) => mark.getAttribute('aria-label'))"
    )


def expected(marks: list[dict], axis: str, methods: set[str], length: int | None = 1) -> list[dict]:
    found = [
        mark
        for mark in marks
        if mark["method"] in methods
        and mark[axis] is not None
        and (length is None or mark["method"] == "dense" or mark["length"] == length)
    ]
    return sorted(found, key=lambda mark: (mark[axis], mark["mean"]))


def front(marks: list[dict], axis: str) -> list[str]:
    """The names of those that no other beats at the same cost or less, from cheap to dear."""
    beaten = [
        any(
            (a[axis], -a["mean"]) != (b[axis], -b["mean"]) and a[axis] <= b[axis] and a["mean"] >= b["mean"]
            for a in marks
        )
        for b in marks
    ]
    best = sorted((m for m, lost in zip(marks, beaten, strict=True) if not lost), key=lambda m: m[axis])
    return [m["name"] + (f" at {m['density']:g}" if m["density"] < 1 else "") for m in best]


def test_accuracy_by_keyboard_shows_the_settings_asked_for(read) -> None:
    reader = read("notebooks/flops")
    page = reader.page
    page.set_viewport_size({"width": 1280, "height": 900})
    marks = page.evaluate(DATA, "accuracy")["places"][0]["marks"]
    axis, methods, length = "train_flops", set(FIRST), 1

    def check() -> None:
        found = expected(marks, axis, methods, length)
        assert [text.split(";")[0] for text in shown(page)] == [
            f"{mark['name']}, density {mark['density']:g}" for mark in found
        ]
        told = page.locator(".accuracy .shown").text_content()
        assert told.startswith(f"{len(found)} of {len(marks)} settings shown.")
        told_front = re.search(r"from cheap to dear: (.*?)\.(?: Below|$)", told)
        if axis == "density":
            assert told_front is None
        else:
            assert told_front[1].split(", ") == [
                part for name in front(found, axis) for part in name.split(", ")
            ]
        assert page.evaluate(OVERLAPS, "accuracy") == []

    check()
    box = page.locator(".accuracy .chart svg").bounding_box()
    assert box["height"] >= 540, "480 pixels of data and the axes"
    page.locator('.accuracy [name="axis"]').focus()
    for axis in list(AXES)[1:]:  # noqa: B007
        page.keyboard.press("ArrowDown")
        check()
    for method in ("rigl-sm", "set"):
        page.locator(f'.accuracy [name="method"][value="{method}"]').focus()
        page.keyboard.press("Space")
        methods ^= {method}
        check()
    page.locator(".accuracy summary").focus()
    page.keyboard.press("Enter")  # folded on a phone, which the page was opened as
    page.locator('.accuracy [name="length"]').focus()
    page.keyboard.press("End")
    length = None
    check()
    assert reader.errors == []


def test_a_mark_tells_itself_and_opens_its_runs(read) -> None:
    reader = read("notebooks/flops")
    page = reader.page
    page.locator('.accuracy [name="place"]').select_option(
        label="LeNet-300-100 on Fashion-MNIST, protocol “laptop”"
    )
    marks = page.locator(".accuracy [role=button]")
    marks.first.focus()
    page.keyboard.press("ArrowRight")
    told = page.locator(".accuracy .hover")
    assert re.fullmatch(r"8[16]\.00 ± 1\.00 %, 3 seeds", told.locator("div").nth(1).text_content())
    page.keyboard.press("Enter")
    opened = page.locator(".accuracy .runs-behind:popover-open")
    links = opened.get_by_role("link")
    assert links.count() == 3
    assert "<b>chip" not in opened.inner_html()
    assert "_s0_" in links.first.get_attribute("href")
    with page.expect_response("**/results/fashion-mnist/*.json") as found:
        links.first.click()
    assert found.value.json()["test_accuracy"] in (85.0, 80.0)


def test_a_link_shows_what_its_sender_saw(read) -> None:
    reader = read("notebooks/flops")
    page = reader.page
    page.locator('.accuracy [name="axis"]').select_option("density")
    page.locator('.accuracy [name="method"][value="snfs"]').uncheck()
    saw = shown(page)
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("document.querySelector('.accuracy [role=button]')")
    assert shown(page) == saw
    assert page.locator('.accuracy [name="axis"]').input_value() == "density"
    assert reader.errors == []


def test_a_phone_has_the_plot_in_its_width(read) -> None:
    page = read("notebooks/flops").page
    box = page.locator(".accuracy .chart svg").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert page.evaluate(OVERLAPS, "accuracy") == []


def test_training_is_played_by_keyboard(read) -> None:
    reader = read("notebooks/redistribution")
    page = reader.page
    places = page.evaluate(DATA, "player")["places"]
    (paper,) = [place for place in places if "WRN-22-2" in place["title"]]
    assert page.locator('.player [name="place"] option').count() == len(places)
    page.locator('.player [name="place"]').select_option(label=paper["title"])
    page.locator(".player summary").click()
    heads = page.locator(".player thead th").all_text_contents()
    assert heads == ["Layer", "Shape", "uniform", "ERK"]
    rows = page.locator(".player tbody tr")
    assert rows.count() == len(paper["layers"]) == 23
    density = page.locator('.player [name="density"]').input_value()
    for at, row in enumerate(rows.all()):
        shares = [paper["still"][density][name]["densities"][at] for name in heads[2:]]
        assert [float(text) for text in row.locator("td").all_text_contents()[2:]] == shares
    assert paper["command"] in page.locator(".player .see").text_content()
    assert page.evaluate(OVERLAPS, "player") == []
    moving = next(place for place in places if place["runs"])
    run = moving["runs"][0]
    page.locator('.player [name="place"]').select_option(label=moving["title"])
    slider = page.locator('.player [name="at"]')
    slider.focus()
    for key, at in (("ArrowRight", 1), ("End", len(run["steps"]) - 1), ("ArrowLeft", len(run["steps"]) - 2)):
        page.keyboard.press(key)
        assert int(slider.input_value()) == at
        now = [float(text) for text in page.locator(".player tbody td:nth-child(3)").all_text_contents()]
        assert now == run["densities"][at]
        assert (
            page.locator(".player .explorer-summary").text_content().startswith(f"Step {run['steps'][at]:,},")
        )
    assert run["told"] in page.locator(".player .see").text_content()
    assert reader.errors == []


def test_densities_are_laid_over_each_other_and_in_the_address(read) -> None:
    reader = read("notebooks/method")
    page = reader.page
    data = page.evaluate(DATA, "explorer")
    model = "lenet-300-100 on fashion-mnist"
    (run,) = data["ends"][model]

    def bars() -> list[list[float]]:
        return page.evaluate(
            "[...document.querySelector('.explorer .plotly-graph-div').data].map((t) => [...t.y])"
        )

    page.locator('.explorer [name="model"]').select_option(model)
    assert len(bars()) == 1
    page.locator('.explorer [name="beside"]').select_option("uniform")
    at = int(page.locator('.explorer [name="value"]').input_value())
    assert bars()[1] == data["models"][model]["points"]["uniform"]["density"][at]["densities"]
    page.locator('.explorer [name="beside"]').select_option(run)
    assert bars()[1] == data["ends"][model][run]["densities"] == [0.05, 0.1, 0.15]
    heads = page.locator(".explorer thead th").all_text_contents()
    assert heads[-1] == f"Density, {data['ends'][model][run]['text']}"
    saw, address = bars(), page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("document.querySelector('.explorer .plotly-graph-div')?.data?.length === 2")
    assert bars() == saw
    assert reader.errors == []
