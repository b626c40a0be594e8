"""The page in Chromium: by mouse, by keyboard, light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest
from starlette.applications import Starlette

from interactrank.server.app import make_app
from interactrank.serving import refresh_items
from tests.data import logs
from tests.server.conftest import settings_of
from tests.server.page.browser import FAINT, NAMELESS, chromium, serving
from tests.serving.exported import Exported, export_again

pytest.importorskip("playwright", reason="playwright is not installed (extra: test)")
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

pytestmark = pytest.mark.slow
ATTACK = "<img src=x onerror=\"document.title='hacked'\">"
MODEL = ".column.model .result"


@pytest.fixture(scope="module")
def app(shown: Exported, tmp_path_factory: pytest.TempPathFactory) -> Starlette:
    """A service whose catalogue has an item with HTML for a title."""
    folder = tmp_path_factory.mktemp("page")
    export_again(shown, folder / "export", browse=shown.folder / "log")
    evil = logs.item("evil", f"red shoe {ATTACK}", brand=ATTACK, categories=[ATTACK])
    pq.write_table(logs.table([evil]), folder / "items.parquet")
    refresh_items(folder / "export", folder / "items.parquet")
    return make_app(settings_of(folder / "export", events=str(folder / "events")))


@pytest.fixture(scope="module")
def address(app: Starlette) -> Iterator[str]:
    with serving(app) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def problems() -> list[str]:
    """Errors that the page logs, and requests to other servers."""
    return []


@pytest.fixture
def page(
    browser: Browser, address: str, problems: list[str], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """The page, opened; a parameter sets up the browser. Any problem that is left fails the test."""
    opened = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})})
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda sent: problems.append(sent.url) if not sent.url.startswith(address) else None)
    opened.set_default_timeout(20_000)
    opened.goto(address)
    opened.wait_for_selector("#welcome button")
    yield opened
    opened.close()
    assert problems == []


def search(page: Page, query: str = "red shoe", user: str = "u1") -> None:
    page.fill("#query", query)
    page.fill("#user", user)
    page.press("#user", "Enter")
    page.wait_for_selector(MODEL)


def items(page: Page, column: str = "model") -> list[str]:
    return page.locator(f".column.{column} .result").evaluate_all("found => found.map(r => r.dataset.item)")


def test_type_choose_and_see_three_columns(page: Page) -> None:
    page.locator("#query").press_sequentially("re")
    options = page.locator("#query-options [role=option]")
    expect(options.first).to_be_visible()
    for text in options.all_inner_texts():
        assert any(word.startswith("re") for word in text.split())
    options.first.click()
    expect(page.locator(".column h3 span:first-child")).to_have_text(
        ["BM25", "Dot product alone", "InteractRank"]
    )
    assert len(items(page)) == 10
    expect(page.locator(".column.bm25 mark").first).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("10 results for")
    page.get_by_text("More of the request").click()
    page.select_option("#k", "5")
    expect(page.locator(MODEL)).to_have_count(5)


def test_an_explanation_has_the_numbers_behind_a_bar(page: Page) -> None:
    search(page)
    button = page.locator(f"{MODEL} .open").first
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    table = page.locator(f"{MODEL} table").first
    expect(table).to_be_visible()
    score = float(page.locator(f"{MODEL} .score").first.inner_text().split()[-1].replace("\u2212", "-"))
    shown = table.locator("tfoot td").nth(1).inner_text().replace("\u2212", "-")
    assert float(shown) == pytest.approx(score, abs=0.006)
    expect(table.get_by_role("row").filter(has_text="click per impression").first).to_contain_text("shown")
    button.click()
    expect(table).to_be_hidden()


def test_bars_end_where_their_parts_do(page: Page) -> None:
    search(page)
    inside = page.locator(f"{MODEL} .bar").evaluate_all(
        """bars => bars.every((bar) => {
          const own = bar.getBoundingClientRect();
          return [...bar.querySelectorAll(".segment")].every((segment) => {
            const part = segment.getBoundingClientRect();
            return part.left >= own.left - 1 && part.right <= own.right + 1;
          });
        })"""
    )
    assert inside
    assert "dot product" in str(page.locator(f"{MODEL} .bar").first.get_attribute("aria-label"))


def test_a_click_that_is_tried_changes_the_sequence_and_the_ranking(page: Page) -> None:
    search(page)
    page.get_by_role("button", name="Only try clicks").click()
    before = page.locator(f"{MODEL} .score").all_inner_texts()
    last = page.locator(MODEL).last
    name = str(last.get_attribute("data-item"))
    last.locator(".title").click()
    expect(page.locator("#events li.fresh")).to_have_count(1)
    assert page.locator("#events li.fresh").get_attribute("title") == name
    assert page.locator(f"{MODEL} .score").all_inner_texts() != before
    expect(page.get_by_role("status")).to_contain_text("Moved or new")
    expect(page.locator("#clicks")).to_contain_text("in this page alone: 1 so far")
    after = items(page)
    assert page.locator(f"{MODEL}:has(.moved-mark)").count() > 0
    page.get_by_role("button", name="Forget them").click()
    expect(page.locator("#events li.fresh")).to_have_count(0)
    assert sorted(after) == sorted(items(page))


def seen(page: Page) -> dict[str, int]:
    """Clicks after all searches that the page shows for each item of the column of BM25."""
    found = {}
    for result in page.locator(".column.bm25 .result").all():
        result.locator(".open").click()
        row = result.locator('tr:has(th[title="all_click"])')
        share, count = re.findall(r"([\d.,]+) % of ([\d,]+)", row.inner_text())[0]
        found[str(result.get_attribute("data-item"))] = round(float(share) * int(count) / 100)
    return found


def test_a_click_is_recorded_as_rows_of_the_log(page: Page, shown: Exported) -> None:
    """The rows are what ``prepare`` reads: all that was shown, an engagement in one of them."""
    search(page, "red shoe", "u5")
    before, column = seen(page), items(page, "bm25")
    with page.expect_request("**/events") as sent:
        page.locator(".column.bm25 .result .title").nth(1).click()
    expect(page.locator("#clicks")).to_contain_text("recorded for user u5: 1 so far")
    assert page.locator("#events li.fresh").get_attribute("title") == column[1]
    expect(page.locator("#events li.fresh")).to_contain_text("click, just now")
    after, name = seen(page), column[1]
    assert after[name] - before[name] == 1  # the click counts in the histories, too
    rows = sent.value.post_data_json["events"]
    assert [r["item_id"] for r in rows] == column
    assert [r["position"] for r in rows] == list(range(1, len(column) + 1))
    assert [r["click"] for r in rows] == [0, 1, *[0] * (len(column) - 2)]
    assert {r["save"] for r in rows} == {0}
    assert {(r["query"], r["user_id"], r["hour"]) for r in rows} == {("red shoe", "u5", None)}
    assert len({r["request_id"] for r in rows}) == 1
    assert set(rows[1]) <= set(shown.events[0])  # columns of the log
    assert rows[1]["event_time"] == rows[1]["timestamp"] < page.evaluate("Date.parse(time.value + 'Z')")


def test_a_server_that_keeps_no_events_says_so_and_the_click_is_tried(
    page: Page, problems: list[str]
) -> None:
    refusal = {"error": {"message": "this server keeps no events"}}
    page.route("**/events", lambda route: route.fulfill(status=501, json=refusal))
    search(page)
    page.locator(f"{MODEL} .title").first.click()
    expect(page.locator("#clicks")).to_contain_text("Not recorded: this server keeps no events")
    expect(page.locator("#events li.fresh")).to_have_count(1)
    assert "status of 501" in problems.pop()


def test_a_token_is_asked_for_and_sent(page: Page, problems: list[str]) -> None:
    tokens: list[str | None] = []

    def record(route: Route) -> None:
        tokens.append(route.request.headers.get("authorization"))
        right = tokens[-1] == "Bearer s3cret"
        answer = {} if right else {"error": {"message": "authorization: send 'Bearer TOKEN'"}}
        route.fulfill(status=200 if right else 401, json=answer)

    page.route("**/events", record)
    search(page)
    page.locator(f"{MODEL} .title").first.click()
    expect(page.get_by_role("alert")).to_contain_text("Bearer TOKEN")
    page.get_by_label("Token of this server").fill("s3cret")
    page.locator(f"{MODEL} .title").first.click()
    expect(page.locator("#clicks")).to_contain_text("1 so far")
    assert tokens == [None, "Bearer s3cret"]
    assert "s3cret" not in page.url
    assert "status of 401" in problems.pop()


def test_by_keyboard_alone(page: Page) -> None:
    keyboard = page.keyboard
    keyboard.press("Tab")
    keyboard.type("red")
    expect(page.locator("#query-options")).to_be_visible()
    keyboard.press("ArrowDown")
    active = str(page.locator("#query").get_attribute("aria-activedescendant"))
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    keyboard.press("Escape")
    expect(page.locator("#query-options")).to_be_hidden()
    keyboard.press("Enter")
    page.wait_for_selector(MODEL)
    keyboard.press("Shift+Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the results")
    keyboard.press("Enter")
    keyboard.press("Tab")
    first = page.locator(":focus")
    assert first.get_attribute("class") == "title"
    assert first.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"  # the focus can be seen
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(page.locator(".column.bm25 table").first).to_be_visible()
    keyboard.press("Shift+Tab")
    chosen = page.locator(".result:has(:focus)").get_attribute("data-item")
    keyboard.press("Enter")
    expect(page.locator("#clicks")).to_contain_text("1 so far")
    assert page.locator(".result:has(:focus)").get_attribute("data-item") == chosen  # it stays on the item


def test_a_search_can_be_sent_as_a_link(page: Page, address: str) -> None:
    search(page, "blue hat", "u2")
    found, link = items(page), page.url
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector(MODEL)
    assert items(page) == found
    assert page.input_value("#query") == "blue hat"


def test_text_of_log_and_request_is_never_html(page: Page) -> None:
    search(page, f"red {ATTACK}", ATTACK)
    page.get_by_text("More of the request").click()
    page.select_option("#k", "20")
    expect(page.locator(MODEL)).to_have_count(13)
    expect(page.locator(f'{MODEL}[data-item="evil"] .title')).to_contain_text(ATTACK)
    page.get_by_role("button", name="Only try clicks").click()
    page.locator(f'{MODEL}[data-item="evil"] .title').click()
    expect(page.locator("#events li.fresh")).to_contain_text(ATTACK)
    assert page.locator("img").count() == 0
    assert page.title() == "InteractRank: search"


def test_what_the_server_refuses_is_said(page: Page, problems: list[str]) -> None:
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_have_text("Type a query.")
    page.get_by_text("More of the request").click()
    page.fill("#field-hour", "late")
    page.fill("#query", "red")
    with page.expect_response("**/page/search") as answered:
        page.press("#query", "Enter")
    assert answered.value.status == 422
    expect(page.get_by_role("alert")).to_have_text("fields: 'hour' must be a number, found 'late'")
    assert "status of 422" in problems.pop()  # Chromium's own line for the answer


@pytest.mark.parametrize("page", [{"color_scheme": c} for c in ("light", "dark")], indirect=True, ids=str)
def test_light_and_dark_can_be_read_and_everything_has_a_name(page: Page) -> None:
    search(page)
    page.get_by_text("More of the request").click()
    page.locator(f"{MODEL} .open").first.click()
    red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (int(red) < 60) == dark
    page.evaluate("document.activeElement.blur()")
    assert page.evaluate(FAINT) == []
    assert page.evaluate(NAMELESS) == []
    ids: list[Any] = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("page", [{"viewport": {"width": 360, "height": 700}}], indirect=True, ids=["narrow"])
def test_a_narrow_screen_scrolls_one_way(page: Page) -> None:
    search(page)
    page.locator(f"{MODEL} .open").first.click()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    tops = page.locator(".column").evaluate_all("found => found.map(c => c.getBoundingClientRect().left)")
    assert len(set(tops)) == 1  # one below the other
    names = page.locator(".column h3 span:first-child").all_inner_texts()
    assert names == ["InteractRank", "BM25", "Dot product alone"]
