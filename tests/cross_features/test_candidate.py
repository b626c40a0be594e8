"""Candidate features: what came with a candidate, and how it enters the score."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactrank.core.settings import ConfigError, parse_config
from interactrank.cross_features import CrossFeatures, GivenValues, RequestKeys, features_of, per_row
from interactrank.data import LoaderSettings, SearchLoader
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import InteractRank, ModelSettings
from interactrank.schema import CandidateFeature, SearchSchema
from tests.data.logs import event, item, minimal, prepared, requests

PRICE = {"name": "price", "kind": "number", "column": "price"}
SOURCE = {"name": "source", "kind": "id", "column": "source", "values": 50}
NAN = float("nan")


def schema(*features: dict[str, Any], **events: Any) -> SearchSchema:
    values = minimal().model_dump()
    values["events"] |= {"impressions": True, "request": "request_id", "split": "split", **events}
    values["features"]["candidate"] = list(features)
    return parse_config(SearchSchema, values, "schema")


def look_up(prices: list[list[float]], candidates: list[list[int]] | None) -> np.ndarray:
    """[C, 3] forms of the price of items 0, 1, ... of each request."""
    given = GivenValues(
        per_row([list(range(len(p))) for p in prices]),
        {"price": np.array([x for p in prices for x in p], np.float32)},
    )
    time = np.zeros(len(prices), np.int64)
    cross = CrossFeatures(features_of(schema(PRICE)), stores={}, num_items=4)
    keys = RequestKeys({}, time, time, given)
    return cross.look_up(keys, None if candidates is None else per_row(candidates)).number


def test_forms_by_hand() -> None:
    """log(1 + x) of e - 1, e^3 - 1 and e^2 - 1 is 1, 3 and 2: mean 2, deviation sqrt(2 / 3)."""
    value, centred, rank = look_up([[np.e - 1, np.e**3 - 1, np.e**2 - 1]], [[0, 1, 2]]).T
    assert value.tolist() == pytest.approx([1, 3, 2])
    assert centred.tolist() == pytest.approx([-((3 / 2) ** 0.5), (3 / 2) ** 0.5, 0], abs=1e-6)
    assert rank.tolist() == [0, 1, 0.5]


def test_ties_unknown_numbers_and_requests_apart() -> None:
    first, other = np.split(look_up([[5, 5, NAN, 1], [NAN, -7]], [[0, 1, 2, 3], [0, 1]]), [4])
    assert first[:, 2].tolist() == pytest.approx([0.75, 0.75, NAN, 0], nan_ok=True)
    assert np.isnan(first[2]).all()
    assert np.isnan(other[0]).all()
    assert other[1].tolist() == pytest.approx([-np.log(8), 0, 0.5])  # alone: no deviation, in the middle


def test_an_item_that_was_not_a_candidate_has_none() -> None:
    found = look_up([[3, 1], [2]], [[1, 3, 0], [2, 0]])
    assert found[:, 0].tolist() == pytest.approx([np.log(2), NAN, np.log(4), NAN, np.log(3)], nan_ok=True)
    whole = look_up([[3, 1], [2]], None).reshape(2, 4, 3)
    assert np.array_equal(whole[[0, 0, 0, 1, 1], [1, 3, 0, 2, 0]], found, equal_nan=True)


def log(folder: Path, *features: dict[str, Any], **changes: Any) -> PreparedDataset:
    events = [
        event("r1", "u", "q", "a", 0, click=1) | {"price": 10.0, "source": "ann"},
        event("r1", "u", "q", "a", 0) | {"price": 99.0, "source": "bm25"},  # the first row counts
        event("r1", "u", "q", "b", 0) | {"price": None, "source": None},
        event("r1", "u", "q", "c", 0) | {"price": float("inf"), "source": "bm25"},
        event("r2", "u", "q", "b", 5, click=1) | {"price": 3.0, "source": "ann"},
        event("r2", "u", "q", "c", 5) | {"price": 4.0, "source": "ann"},
    ]
    events = [row | changes for row in events]
    return prepared(folder, events, [item(i) for i in "abc"], schema=schema(*features))


def test_from_the_log_to_the_batch(tmp_path: Path) -> None:
    dataset = log(tmp_path, PRICE, SOURCE)
    first, other = requests(dataset)
    assert first["candidate.price"] == pytest.approx([10, NAN, NAN], nan_ok=True)
    ann, none, bm25 = first["candidate.source"]
    assert none == 0
    assert ann != bm25
    assert other["candidate.source"] == [ann, ann]
    loader = SearchLoader(dataset, "train", LoaderSettings(batch_requests=2), shuffle=False)
    batch = next(iter(loader.epoch()))
    assert dataset.cross.columns.number_names == ["price", "price_centred", "price_rank", "source"]
    assert batch.cross.number[:, 0].tolist() == pytest.approx(np.log1p([10, NAN, NAN, 3, 4]), nan_ok=True)
    # An evaluation looks the features up again: with the same numbers for the same candidates.
    chosen = next(loader.requests())
    again = dataset.cross.look_up(chosen.keys(), chosen.candidates().items).number
    assert np.array_equal(again, batch.cross.number.numpy(), equal_nan=True)


def test_a_category_adds_a_learned_number_for_each_head(tmp_path: Path) -> None:
    dataset = log(tmp_path, PRICE, SOURCE)
    torch.manual_seed(0)
    model = InteractRank(layout=dataset.layout, settings=ModelSettings(dim=4)).eval()
    loader = SearchLoader(dataset, "train", LoaderSettings(batch_requests=2), shuffle=False)
    batch = next(iter(loader.epoch()))
    before = model.score(batch)
    assert torch.isfinite(before).all()  # unknown prices have a learned stand-in
    weight = model.score_head.categories.weight
    assert weight is not None
    ann = int(batch.cross.number[0, 3])
    with torch.no_grad():
        weight[ann] += 2.0
    expected = torch.tensor([[2.0], [0], [0], [2], [2]])
    torch.testing.assert_close(model.score(batch) - before, expected)
    assert model.score_head.reads == ["price", "price_centred", "price_rank", "source"]


def test_features_can_be_left_out(tmp_path: Path) -> None:
    dataset = log(tmp_path, PRICE, SOURCE)
    settings = ModelSettings(dim=4, exclude_features=["source", "price"])
    model = InteractRank(layout=dataset.layout, settings=settings)
    assert model.score_head.reads == ["price_centred", "price_rank"]
    assert model.score_head.categories.weight is None


@pytest.mark.parametrize(
    ("features", "events", "message"),
    [
        ([PRICE | {"column": "click"}], {}, r"column 'click' \(events.engagements.click\) tells the outcome"),
        (
            [PRICE | {"column": "position"}],
            {"position": "position"},
            "column 'position' .events.position. tells",
        ),
        ([PRICE], {"impressions": False}, "features.candidate needs events.impressions"),
        ([PRICE, PRICE], {}, "'price' is defined more than once"),
        ([PRICE | {"forms": ["rank", "rank"]}], {}, "a form is named more than once"),
        ([SOURCE | {"forms": ["rank"]}], {}, "forms go with kind number alone"),
        ([PRICE | {"values": 5}], {}, "values goes with kind id alone"),
        ([PRICE | {"kind": "words"}], {}, "kind"),
    ],
)
def test_what_cannot_be_is_refused(features: list[dict], events: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        schema(*features, **events)


def test_columns_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no column 'cost'"):
        log(tmp_path, PRICE | {"column": "cost"})
    with pytest.raises(DatasetError, match="feature 'price': kind number does not go with column 'price'"):
        log(tmp_path / "2", PRICE, price="cheap")


def test_an_id_takes_no_name_but_its_own() -> None:
    """A number called as a form that an id does not have is another feature."""
    other = PRICE | {"name": "source_rank", "forms": ["value"]}
    assert [f.name for f in features_of(schema(SOURCE, other))] == ["source", "source_rank"]
    with pytest.raises(ConfigError, match="'price_rank' is defined more than once"):
        schema(PRICE, PRICE | {"name": "price_rank", "forms": ["value"]})


def test_values_are_between_0_and_the_most() -> None:
    with pytest.raises(ValueError, match="values"):
        CandidateFeature(name="x", kind="id", column="x", values=1)
