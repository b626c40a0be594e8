"""A guessed config: what columns mean is told from a log, and the config prepares it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import yaml

from interactrank.core.settings import parse_config
from interactrank.data import prepare_log
from interactrank.data.errors import DatasetError
from interactrank.data.guess.config import guess_config
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

START_S = 1_704_067_200
WORDS = [
    "red",
    "blue",
    "green",
    "lamp",
    "chair",
    "desk",
    "sofa",
    "rug",
    "vase",
    "clock",
    "mirror",
    "shelf",
    "stool",
    "bench",
    "tray",
]


def shop(requests: int = 300, seed: int = 0) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """A shop's lists of four products; prices are of the moment, ``revenue`` is known after a click alone."""
    r = random.Random(seed)
    items: dict[str, list[Any]] = {
        "sku": [f"{n:03d}" for n in range(40)],
        "product_title": [f"{r.choice(WORDS)} {r.choice(WORDS)} number {n}" for n in range(40)],
        "brand": [r.choice(["acme", "bolt", "core"]) for _ in range(40)],
        "rating_count": [r.randrange(1000) for _ in range(40)],
    }
    columns = [
        "search_id",
        "visitor_id",
        "search_term",
        "sku",
        "ts",
        "rank",
        "price",
        "device",
        "clicked",
        "revenue",
    ]
    events: dict[str, list[Any]] = {c: [] for c in columns}
    for n in range(requests):
        device, words = r.choice(["phone", "desktop"]), f"{r.choice(WORDS)} {r.choice(WORDS)} {n}"
        for place, i in enumerate(r.sample(range(40), 4), 1):
            click = int(r.random() < 0.3)
            row = (n + 1, n % 50, words, items["sku"][i], START_S + 60 * n, place, r.randint(1, 99) / 2)
            for c, v in zip(columns, (*row, device, click, 12.5 if click else None), strict=True):
                events[c].append(v)
    return events, items


def write(folder: Path, events: Any, items: Any, *, text: bool) -> Path:
    folder.mkdir(parents=True)
    for name, table in (("events", events), ("items", items)):
        if text:
            pc.write_csv(pa.table(table), folder / f"{name}.csv")
        else:
            pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return folder


@pytest.mark.parametrize("text", [False, True])
def test_a_shop(tmp_path: Path, text: bool) -> None:
    log = write(tmp_path / "log", *shop(), text=text)
    written = guess_config(log)
    config = yaml.safe_load(written)
    schema = config["schema"]
    assert schema["events"] == {
        "request": "search_id", "user": "visitor_id", "query": "search_term", "item": "sku", "time": "ts",
        "position": "rank", "impressions": True, "engagements": {"clicked": "clicked"},
    }  # fmt: skip
    assert schema["items"] == {"id": "sku"}
    assert [f["column"] for f in schema["features"]["candidate"]] == ["price"]
    assert [f["column"] for f in schema["features"]["request"]] == ["search_term", "device"]
    assert [f["column"] for f in schema["features"]["item"]] == ["sku", "brand"]
    assert "events.revenue: alone it tells engagements (AUC 1.000): a leak?" in written
    assert "time: ts  # numbers, read as seconds since 1970" in written
    assert "items.rating_count: by its name it may be from after the log" in written
    assert config["evaluation"]["candidates"] == "logged"
    found = prepare_log(log, tmp_path / "out", parse_config(SearchSchema, schema), PrepareSettings())
    assert (found["events"], found["malformed"], sum(found["requests"].values())) == (1200, {}, 300)


def test_positives_of_labelled_rows_alone(tmp_path: Path) -> None:
    """Only what was bought is there; what happened stands in a column of its own, a day is the time."""
    events, items = shop()
    clicks = [n for n, c in enumerate(events["clicked"]) if c]
    kept = {c: [events[c][n] for n in clicks] for c in ("visitor_id", "search_term", "sku")}
    day = [f"2024-01-{1 + n // 20:02d}" for n in range(len(clicks))]
    log = write(
        tmp_path / "log",
        {
            **kept,
            "date": pa.array(day).cast(pa.date32()),
            "label": [1] * len(day),
            "action": ["buy"] * len(day),
        },
        items,
        text=False,
    )
    config = yaml.safe_load(guess_config(log))
    schema = config["schema"]
    assert schema["events"]["engagements"] == {"buy": "label"}
    assert (schema["events"]["impressions"], schema["events"]["time"]) == (False, "date")
    assert "request" not in schema["events"]
    assert schema["sequence"]["end"] == "day"
    assert config["loader"]["negatives"] > 0
    assert config["evaluation"]["candidates"] == "catalogue"
    parse_config(SearchSchema, schema)


def test_a_request_id_that_others_have_too_is_not_used(tmp_path: Path) -> None:
    events, items = shop()
    events["search_id"] = [n % 7 for n in events["search_id"]]
    written = guess_config(write(tmp_path / "log", events, items, text=False))
    assert "request" not in yaml.safe_load(written)["schema"]["events"]
    assert "# unsure: 'search_id' is not used: 7 of its 7 values have several users or queries" in written


def test_names_that_yaml_would_read_as_something_else(tmp_path: Path) -> None:
    events, items = shop()
    events["yes"] = events.pop("device")
    events["Preis (€): neu"] = events.pop("price")
    schema = yaml.safe_load(guess_config(write(tmp_path / "log", events, items, text=False)))["schema"]
    assert {f["column"] for f in schema["features"]["candidate"]} == {"Preis (€): neu"}
    assert "yes" in {f["column"] for f in schema["features"]["request"]}
    parse_config(SearchSchema, schema)


@pytest.mark.parametrize(
    ("dropped", "told"),
    [
        ("clicked", "no column counts engagements"),
        ("ts", "no column holds the time"),
        ("sku", "holds ids that a column of"),
    ],
)
def test_what_cannot_be_guessed_is_said(tmp_path: Path, dropped: str, told: str) -> None:
    events, items = shop(50)
    del events[dropped]
    with pytest.raises(DatasetError, match=told):
        guess_config(write(tmp_path / "log", events, items, text=False))
