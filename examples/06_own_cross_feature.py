# python examples/06_own_cross_feature.py
"""A cross feature of your own: how long ago did this user last click this item?

One class says all of it: its settings in YAML, what ``prepare`` stores, how it is looked up as of a request,
and how the number enters the score. In a made-up log, users click an item again within a day or two; the
model is trained with and without the feature. For the command line, put the class into a module and name it
in the YAML file of the run, ``plugins: [my_package.my_module]`` (docs/extending.md).
"""

import random
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from interactrank import cross_features as cf
from interactrank.core.settings import parse_config
from interactrank.data import LoaderSettings, PreparedDataset, PrepareSettings, SearchLoader, prepare_log
from interactrank.evaluation import request_level_auc
from interactrank.models import InteractRank, LossSettings, ModelSettings, TowerSettings
from interactrank.schema import SearchSchema

HOUR_MS, START_MS = 3_600_000, 1_704_067_200_000  # 2024-01-01


class HoursSinceSettings(cf.CrossFeatureSettings):
    """What an entry ``{kind: hours_since, ...}`` may hold; a wrong key gets an error with the nearest one."""

    kind: Literal["hours_since"] = "hours_since"
    engagement: str

    def schema_problems(self, schema: SearchSchema) -> list[str]:
        known = self.engagement in schema.events.engagements and schema.events.user is not None
        return [] if known else [f"needs events.user and an engagement '{self.engagement}'"]


class HoursSince(cf.CrossFeature[HoursSinceSettings]):
    """log(1 + hours) since the user's last engagement with the item; unknown if there is none."""

    Settings = HoursSinceSettings
    column = cf.Number(may_be_unknown=True)  # a number of its own scale; NaN gets a learned stand-in
    store = "hours_since"
    key_names = ("hours_since",)

    def request_keys(self, name: str, requests: cf.RequestFacts) -> cf.Jagged:
        return cf.per_row([[] if user is None else [cf.hash63(user)] for user in requests.users])

    def rows(self, requests: cf.LoggedRequests) -> cf.EngagementRows:
        keys = self.request_keys("hours_since", requests.facts)
        return cf.engagement_rows(requests, keys, self.settings.engagement)

    def look_up(self, lookup: cf.Lookup, store: cf.EngagementCountStore) -> cf.Found:
        query = lookup.query(store, "hours_since", "sequence_end")  # pairs of (this user, a candidate)
        last = store.last_times(query.pairs, query.pair_end)  # strictly before the request
        known = last > cf.NEVER
        numbers = np.full(lookup.num_candidates, np.nan)
        numbers[query.candidate[known]] = np.log1p((query.pair_end - last)[known] / HOUR_MS)
        return cf.Found(numbers)


cf.register("hours_since", HoursSince)

SCHEMA = """
events: {query: query, item: item, time: time, user: user, impressions: true, engagements: {click: clicked}}
items: {id: item}
features:
  request: [{name: query, kind: id, column: query, table: query}]
  item: [{name: item, kind: id, column: item, table: item}]
tables: {query: {dim: 8}, item: {dim: 8}}
heads: [{name: click, engagements: [click]}]
cross_features:
  - {kind: iqp, key: all, engagement: click}
  - {kind: hours_since, engagement: click}
"""


def write_log(folder: Path, searches: int = 2000, shown: int = 6, items: int = 60) -> None:
    """Thirty users click an item again within two days, but seldom at first or later."""
    draw, last, events = random.Random(0), dict[tuple[int, int], int](), []
    for n in range(searches):
        user, time = draw.randrange(30), START_MS + n * HOUR_MS // 10
        for item in draw.sample(range(items), shown):
            recent = time - last.get((user, item), 0) < 48 * HOUR_MS
            clicked = draw.random() < (0.9 if recent else 0.05)
            if clicked:
                last[user, item] = time
            row = {"user": str(user), "query": "news", "item": str(item), "time": time}
            events.append(row | {"clicked": int(clicked)})
    pq.write_table(pa.Table.from_pylist(events), folder / "events.parquet")
    pq.write_table(pa.Table.from_pylist([{"item": str(n)} for n in range(items)]), folder / "items.parquet")


def train_and_test(dataset: PreparedDataset, exclude: list[str]) -> float:
    """Return the AUC within the requests of the last tenth of the log."""
    torch.manual_seed(0)
    tower = TowerSettings(crossing="none", hidden_dims=[8])
    loss = LossSettings(pointwise="bce", sampled_softmax_weight=0.0)
    settings = ModelSettings(
        dim=8, request_tower=tower, item_tower=tower, loss=loss, exclude_features=exclude
    )
    model = InteractRank(layout=dataset.layout, settings=settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for batch in SearchLoader(dataset, "train", LoaderSettings(batch_requests=64, negatives=4)).epoch():
        optimizer.zero_grad()
        model(batch)[0].backward()
        optimizer.step()
    (test,) = SearchLoader(dataset, "test", LoaderSettings(batch_requests=1000), shuffle=False).epoch()
    with torch.no_grad():
        scores = model.eval().score(test).flatten()
    return request_level_auc(scores, test.labels.flatten(), test.candidate_lengths)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder)
        schema = parse_config(SearchSchema, yaml.safe_load(SCHEMA))
        prepare_log(folder, folder / "prepared", schema, PrepareSettings())
        dataset = PreparedDataset(folder / "prepared")
        batch = next(SearchLoader(dataset, "test", LoaderSettings(negatives=4)).epoch())
        known, drawn = ~batch.cross.number[:, 0].isnan(), batch.sampling_log_q != 0
        shares = [known[which].float().mean().item() for which in (~drawn, drawn)]
        print("clicked before: {:.0%} of the shown candidates, {:.0%} of the drawn negatives".format(*shares))
        print(f"test AUC without hours_since {train_and_test(dataset, ['hours_since']):.3f}")
        print(f"test AUC with hours_since    {train_and_test(dataset, []):.3f}")


if __name__ == "__main__":
    main()
