"""The ID tables: one home each, names that TorchRec would refuse, and which rows a feature gets."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from interactrank.data.loading.collate import collate, item_batch
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models.tables import SearchTables, collection_name
from tests.models.search import batch, requests


def renamed(log: PreparedDataset, names: dict[str, str]) -> Any:
    """The layout of the log with other names for some tables."""

    def of(features: list[Any]) -> list[Any]:
        return [f.model_copy(update={"table": names.get(f.table, f.table)}) for f in features]

    features = log.schema.features
    schema = log.schema.model_copy(
        update={
            "features": features.model_copy(
                update={"request": of(features.request), "item": of(features.item)}
            ),
            "tables": {names.get(n, n): t for n, t in log.schema.tables.items()},
        }
    )
    rows = {names.get(n, n): r for n, r in log.layout.table_rows.items()}
    return type(log.layout)(schema, rows, log.layout.num_items, log.layout.number_stats)


def test_a_feature_gets_the_rows_of_its_table(log: PreparedDataset) -> None:
    """Against one look-up after the other in the tables' weights."""
    b = batch(log)
    tables = SearchTables(layout=log.layout, init_scale=1.0)
    looked = tables(b)
    weights = {
        name.split(".")[-2]: weight for name, weight in tables.state_dict().items() if "weight" in name
    }
    r, i = b.num_requests, b.num_items

    def pooled(ids: Any, key: str, first: int, rows: int, table: str, how: str) -> torch.Tensor:
        jagged = ids[key].to_dense()[first : first + rows]
        return torch.stack([getattr(weights[table][row], how)(0) for row in jagged])

    torch.testing.assert_close(
        looked.item["categories"], pooled(b.item_ids, "categories", 0, i, "category", "sum")
    )
    # Requests' and items' words share a key: first the requests' rows, then the items'.
    torch.testing.assert_close(
        looked.request["query_words"], pooled(b.shared_ids, "word_0", 0, r, "word", "mean")
    )
    torch.testing.assert_close(looked.item["title"], pooled(b.shared_ids, "word_0", r, i, "word", "mean"))
    assert b.event_ids is not None
    items, queries = b.event_ids["item_0"].values(), b.event_ids["query_0"].values()
    torch.testing.assert_close(looked.item["item_id"], weights["item"][items[:i]])
    torch.testing.assert_close(looked.event["item"], weights["item"][items[i:]])
    torch.testing.assert_close(looked.request["query_id"], weights["query"][queries[:r]])
    torch.testing.assert_close(looked.event["query"], weights["query"][queries[r:]])


def test_every_table_lives_in_one_collection(log: PreparedDataset) -> None:
    tables = SearchTables(layout=log.layout, init_scale=1.0)
    names = [name.split(".")[-2] for name in tables.state_dict()]
    assert sorted(names) == ["category", "item", "query", "word"]


def test_first_weights_lie_within_the_scale(log: PreparedDataset) -> None:
    for weight in SearchTables(layout=log.layout, init_scale=0.25).state_dict().values():
        assert 0.15 < weight.abs().max() <= 0.25


@pytest.mark.parametrize("name", ["items", "keys", "values", "pop", "update", "type", "training", "forward"])
def test_names_that_a_module_already_has(log: PreparedDataset, name: str) -> None:
    """TorchRec keeps tables in a ModuleDict, which refuses them."""
    with pytest.raises(KeyError):
        nn.ModuleDict({name: nn.Identity()})
    layout = renamed(log, {"item": name, "category": f"{name}_"})
    chosen = replace(requests(log, rows=8), layout=layout)
    b = collate(chosen, chosen.candidates(), log.items)
    looked = SearchTables(layout=layout, init_scale=1.0)(b)
    assert looked.item["item_id"].shape == (b.num_items, 4)
    assert collection_name(name) == name.capitalize()


def test_sections_that_are_absent_have_no_rows(log: PreparedDataset) -> None:
    tables = SearchTables(layout=log.layout, init_scale=1.0)
    b = batch(log)
    looked = tables(item_batch(log.items, b.item_index.numpy(), log.layout))
    assert {f: v.shape[0] for f, v in looked.item.items()} == dict.fromkeys(
        ["categories", "title", "item_id"], b.num_items
    )
    assert all(v.shape[0] == 0 for v in [*looked.request.values(), *looked.event.values()])
