# python examples/06_own_cross_feature.py
"""A cross feature of your own: how long ago did this user last click this item?

One class says its settings in YAML, what ``prepare`` stores, the look-up as of a request, and how the number
enters the score. In a made-up log, users click an item again within two days; the model is trained with and
without it. For the command line: ``plugins: [my_package.my_module]`` in the YAML (docs/extending.md).
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
from interactrank.data import LoaderSettings, PreparedDataset, PrepareSettings, SearchLoader, prepare_log
from interactrank.evaluation import request_level_auc
from interactrank.models import InteractRank, LossSettings, ModelSettings
from interactrank.schema import SearchSchema

HOUR_MS, START_MS = 3_600_000, 1_704_067_200_000  # 2024-01-01


class HoursSinceSettings(cf.CrossFeatureSettings):
    """What an entry ``{kind: hours_since, ...}`` may hold; a wrong key gets an error with the nearest one."""

    kind: Literal["hours_since"] = "hours_since"
    engagement: str


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
        known, numbers = last > cf.NEVER, np.full(lookup.num_candidates, np.nan)
        numbers[query.candidate[known]] = np.log1p((query.pair_end[known] - last[known]) / HOUR_MS)
        return cf.Found(numbers)


cf.register("hours_since", HoursSince)

SCHEMA = yaml.safe_load("""
events: {query: query, item: item, time: time, user: user, impressions: true, engagements: {click: clicked}}
items: {id: item}
features:
  request: [{name: query, kind: id, column: query, table: query}]
  item: [{name: item, kind: id, column: item, table: item}]
tables: {query: {dim: 8}, item: {dim: 8}}
heads: [{name: click, engagements: [click]}]
cross_features: [{kind: iqp, key: all, engagement: click}, {kind: hours_since, engagement: click}]
""")


def write_log(folder: Path, searches: int = 2000, shown: int = 6, items: int = 60) -> None:
    """Thirty users click an item again within two days, but seldom at first or later."""
    draw, last, events = random.Random(0), dict[tuple[int, int], int](), []
    for n in range(searches):
        user, time = draw.randrange(30), START_MS + n * HOUR_MS // 10
        for item in draw.sample(range(items), shown):
            recent = time - last.get((user, item), 0) < 48 * HOUR_MS
            row = {"user": str(user), "query": "news", "item": str(item), "time": time, "clicked": 0}
            if draw.random() < (0.9 if recent else 0.05):
                row["clicked"], last[user, item] = 1, time
            events.append(row)
    for name, rows in (("events", events), ("items", [{"item": str(n)} for n in range(items)])):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")


def train_and_test(dataset: PreparedDataset, exclude: list[str]) -> float:
    """Return the AUC within the requests of the last tenth of the log."""
    torch.manual_seed(0)
    loss = LossSettings(pointwise="bce", sampled_softmax_weight=0.0)
    settings = ModelSettings(dim=8, loss=loss, exclude_features=exclude)
    model = InteractRank(layout=dataset.layout, settings=settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for batch in SearchLoader(dataset, "train", LoaderSettings(batch_requests=64, negatives=4)).epoch():
        optimizer.zero_grad()
        model(batch)[0].backward()
        optimizer.step()
    (test,) = SearchLoader(dataset, "test", LoaderSettings(batch_requests=1000), shuffle=False).epoch()
    scores = model.eval().score(test).detach().flatten()
    return request_level_auc(scores, test.labels.flatten(), test.candidate_lengths)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder)
        prepare_log(folder, folder / "prepared", SearchSchema.model_validate(SCHEMA), PrepareSettings())
        dataset = PreparedDataset(folder / "prepared")
        batch = next(SearchLoader(dataset, "test", LoaderSettings(negatives=4)).epoch())
        known, drawn = ~batch.cross.number[:, 0].isnan(), batch.sampling_log_q != 0
        print(f"clicked before: {known[~drawn].sum()} candidates, {known[drawn].sum()} drawn negatives")
        print(f"test AUC without hours_since {train_and_test(dataset, ['hours_since']):.3f}")
        print(f"test AUC with hours_since    {train_and_test(dataset, []):.3f}")


if __name__ == "__main__":
    main()
