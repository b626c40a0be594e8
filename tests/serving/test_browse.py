"""What the search page shows of an export is that of the log, and goes along when items change."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from interactrank.core.settings import ConfigError
from interactrank.cross_features.text import normalize
from interactrank.runs.export import export_trained
from interactrank.serving import ArtifactError, PreRanker, refresh_items
from interactrank.serving.browse import Browse
from tests.data import logs
from tests.serving.exported import Exported, export_again


@pytest.fixture(scope="module")
def shown(made: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browse") / "export"
    export_again(made, folder, browse=made.folder / "log")
    return folder


def test_items_have_the_columns_of_the_log(made: Exported, shown: Path) -> None:
    ranker = PreRanker.open(shown)
    browse = Browse(ranker.version.folder)
    rows = np.array([3, 0, 99])
    source = {i["item_id"]: i for i in pq.read_table(made.folder / "log" / "items.parquet").to_pylist()}
    found = browse.items(rows)
    assert browse.columns == ["categories", "title", "price", "brand"]  # those of the schema, but for vectors
    for item, name in zip(found, ranker.ids.of(rows[:2]), strict=False):
        assert item == {c: source[name][c] for c in browse.columns}
    assert found[2] == {}  # an item that came later


def test_queries_are_those_of_two_users_and_users_those_with_long_sequences(
    made: Exported, shown: Path
) -> None:
    browse = Browse(PreRanker.open(shown).version.folder).open()
    requests = {e["request_id"]: (normalize(e["query"]), e["user_id"]) for e in made.events}
    searched, users, by = Counter(q for q, _ in requests.values()), Counter(), defaultdict(set)
    for query, user in requests.values():
        users[user] += 1
        by[query].add(user)
    assert dict(browse.queries) == {q: n for q, n in searched.items() if len(by[q]) > 1}
    assert [n for _, n in browse.queries] == sorted((n for _, n in browse.queries), reverse=True)
    assert dict(browse.users) == dict(users)
    sequences = made.log.users.sequences
    rows = made.log.users.rows([u for u, _ in browse.users])
    lengths = np.where(rows < 0, 0, np.diff(sequences.offsets)[np.maximum(rows, 0)]).tolist()
    assert lengths == sorted(lengths, reverse=True)
    assert sorted(browse.values["country"]) == ["de", "us"]


def test_an_export_without_it_has_nothing_to_show(made: Exported, shown: Path) -> None:
    version = PreRanker.open(made.artifact).version
    browse = Browse(version.folder).open()
    assert (browse.queries, browse.users, browse.values, browse.columns) == ([], [], {}, [])
    assert browse.items(np.array([0, 1])) == [{}, {}]
    assert version.name != PreRanker.open(shown).version.name


def test_new_and_changed_items_are_shown(made: Exported, tmp_path: Path) -> None:
    export_again(made, tmp_path / "export", browse=made.folder / "log")
    before = Browse(PreRanker.open(tmp_path / "export").version.folder).items(np.arange(12))
    rows = [logs.item("new", "green hat", price=2.5), logs.item("i5", "blue hat", brand="other")]
    pq.write_table(logs.table(rows), tmp_path / "items.parquet")
    version = refresh_items(tmp_path / "export", tmp_path / "items.parquet")
    ranker = PreRanker.open(tmp_path / "export")
    after = Browse(version.folder).items(np.arange(13))
    changed = int(ranker.ids.rows(["i5"])[0])
    assert after[12] == {"categories": ["c1"], "title": "green hat", "price": 2.5, "brand": "acme"}
    assert (after[changed]["title"], after[changed]["brand"]) == ("blue hat", "other")
    assert [i for n, i in enumerate(after[:12]) if n != changed] == [
        i for n, i in enumerate(before) if n != changed
    ]


def test_a_log_of_other_items_is_refused(made: Exported, tmp_path: Path) -> None:
    log = logs.write_log(tmp_path / "log", made.events, [logs.item("i0")])
    with pytest.raises(ArtifactError, match=r"has no item 'i1'; name the log that the dataset"):
        export_again(made, tmp_path / "export", browse=log)


def test_the_log_next_to_the_run_is_found(made: Exported, tmp_path: Path) -> None:
    run = made.folder / "interactrank"
    version = export_trained(run, tmp_path / "export", data=made.folder / "prepared", browse="")
    assert Browse(version.folder).queries
    elsewhere = tmp_path / "elsewhere" / "interactrank"
    elsewhere.parent.mkdir()
    elsewhere.symlink_to(run)
    with pytest.raises(ConfigError, match="--browse LOG"):
        export_trained(elsewhere, tmp_path / "other", data=made.folder / "prepared", browse="")
