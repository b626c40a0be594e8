# python examples/01_own_log.py
"""A search log of your own, from Parquet to scored candidates, in one process and with plain optimizers.

The log is two files: a row of ``events.parquet`` says that an item was shown for a search and whether it
was clicked; ``items.parquet`` describes the items. The schema says what the columns mean. For training on
several processes, checkpoints and reports, give the same schema to ``interactrank run`` (README.md).
"""

import random
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from interactrank.core.settings import parse_config
from interactrank.data import LoaderSettings, PreparedDataset, PrepareSettings, SearchLoader, prepare_log
from interactrank.evaluation import request_level_auc
from interactrank.models import InteractRank, LossSettings, ModelSettings, TowerSettings
from interactrank.schema import SearchSchema

SCHEMA = """
events:
  query: query
  item: item
  time: time
  user: user
  impressions: true               # rows without a click were shown but not engaged with
  engagements: {click: clicked}   # our name for it: the column with its count
items: {id: item}
features:
  request:
    - {name: user, kind: id, column: user, table: user}
    - {name: query_words, kind: words, column: query, table: word}
  item:
    - {name: item, kind: id, column: item, table: item}
    - {name: title_words, kind: words, column: title, table: word}
    - {name: price, kind: number, column: price}
tables:
  user: {dim: 8}
  item: {dim: 8}
  word: {dim: 8}
heads:
  - {name: click, engagements: [click]}
sequence: {length: 20, item: item}
cross_features:
  - {kind: iqp, key: query, engagement: click}             # of the clicks after this query, the item's share
  - {kind: iqp, key: all, engagement: click, window: 7d}   # of all clicks of the last week
  - {kind: bm25, columns: [title]}
"""
COLOURS, THINGS = ["red", "blue", "green", "black"], ["shoes", "lamp", "sofa", "kettle", "jacket"]
HOUR_MS, START_MS = 3_600_000, 1_704_067_200_000  # 2024-01-01


def write_log(folder: Path, searches: int = 2000, shown: int = 6) -> None:
    """Users search for a thing and like one colour of it."""
    draw = random.Random(0)
    kinds = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS] * 3
    items = [{"item": str(n), "title": kind, "price": draw.uniform(5, 90)} for n, kind in enumerate(kinds)]
    events = []
    for search in range(searches):
        user, thing = draw.randrange(20), draw.choice(THINGS)
        for item in draw.sample(items, shown):
            liked = (thing in item["title"]) + (COLOURS[user % len(COLOURS)] in item["title"])
            row = {"user": user, "query": thing, "item": item["item"], "time": START_MS + search * HOUR_MS}
            events.append(row | {"clicked": int(draw.random() < (0.05, 0.3, 0.9)[liked])})
    pq.write_table(pa.Table.from_pylist(events), folder / "events.parquet")
    pq.write_table(pa.Table.from_pylist(items), folder / "items.parquet")


def test_auc(model: InteractRank, test: SearchLoader) -> float:
    """Share of pairs in which the clicked candidate is above the other one, in the last tenth of the log."""
    (batch,) = test.epoch()
    model.eval()
    with torch.no_grad():
        scores = model.score(batch)  # [C, 1]: a logit per candidate and head
    model.train()
    return request_level_auc(scores.flatten(), batch.labels.flatten(), batch.candidate_lengths)


def main() -> None:
    torch.manual_seed(0)
    schema = parse_config(SearchSchema, yaml.safe_load(SCHEMA))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder)
        prepare_log(folder, folder / "prepared", schema, PrepareSettings())
        log = PreparedDataset(folder / "prepared")
        train = SearchLoader(log, "train", LoaderSettings(batch_requests=64))
        test = SearchLoader(log, "test", LoaderSettings(batch_requests=500), shuffle=False)

        tower = TowerSettings(block_dim=16, hidden_dims=[32], residual=True)
        listwise = LossSettings(pointwise="bce", listwise_weight=1.0, sampled_softmax_weight=0.0)
        settings = ModelSettings(dim=16, request_tower=tower, item_tower=tower, table_std=0.3, loss=listwise)
        model = InteractRank(layout=log.layout, settings=settings)
        tables = torch.optim.Adagrad(model.tables.parameters(), lr=0.1)
        rest = [p for n, p in model.named_parameters() if not n.startswith("tables.")]
        dense = torch.optim.Adam(rest, lr=3e-3)

        print(f"{train.num_requests} requests to train on; test AUC before {test_auc(model, test):.3f}")
        for epoch in range(4):
            for batch in train.epoch(epoch):
                tables.zero_grad()
                dense.zero_grad()
                loss, _ = model(batch)
                loss.backward()
                tables.step()
                dense.step()
            print(f"epoch {epoch}: last loss {loss.item():.3f}, test AUC {test_auc(model, test):.3f}")


if __name__ == "__main__":
    main()
