"""Managed ids against a dictionary that keeps the best values of each bucket."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor

from interactrank.modules import (
    Eviction,
    ManagedIds,
    TableConfig,
    embedding_bag_collection,
    embedding_collection,
    manage,
)

CPU = torch.device("cpu")


def managed(rows: int = 4, **eviction: object) -> ManagedIds:
    return ManagedIds(rows=rows, eviction=Eviction(**{"buckets": 1, "interval": 1, **eviction}), device=CPU)


def _jagged(ids: tuple[int, ...]) -> JaggedTensor:
    values = torch.tensor(ids, dtype=torch.int64)
    return JaggedTensor(values=values, lengths=torch.tensor([len(ids)]))


def look_up(module: ManagedIds, *ids: int) -> list[int]:
    found = module({"t": _jagged(ids)})
    return found["t"].values().tolist()


def values_with_rows(module: ManagedIds) -> dict[int, int]:
    """value -> row."""
    held = module.count > 0
    return dict(zip(module.ids[held].tolist(), module.row[held].tolist(), strict=True))


class Oracle:
    """The same in a dictionary, a loop and a sort."""

    def __init__(self, rows: int, buckets: int, policy: str, interval: int) -> None:
        self.size, self.policy, self.interval = rows // buckets, policy, interval
        self.width = -(-(2**62) // buckets)
        self.step = 0
        self.held: dict[int, tuple[int, int]] = {}  # value -> count, step at which it came last
        self.notes: dict[int, list[tuple[int, int, int]]] = {b: [] for b in range(buckets)}

    def add(self, ids: list[int]) -> None:
        self.step += 1
        for i in set(ids) & self.held.keys():
            self.held[i] = (self.held[i][0] + ids.count(i), self.step)
        for b, notes in self.notes.items():
            new = [i for i in set(ids) - self.held.keys() if i and i // self.width == b]
            notes += [(i, ids.count(i), self.step) for i in new]
            if len(notes) > self.size:
                known = self.merged(notes)
                best = sorted(known, key=lambda i: (-self.score(*known[i]), i))[: self.size // 2]
                notes[:] = [(i, *known[i]) for i in best]
        if self.step % self.interval == 0:
            kept: dict[int, tuple[int, int]] = {}
            for b, notes in self.notes.items():
                every = {i: of for i, of in self.held.items() if i // self.width == b} | self.merged(notes)
                best = sorted(every, key=lambda i: (-self.score(*every[i]), i not in self.held, i))
                kept |= {i: every[i] for i in best[: self.size - 1]}
                notes.clear()
            self.held = kept

    def merged(self, notes: list[tuple[int, int, int]]) -> dict[int, tuple[int, int]]:
        values = {i for i, _, _ in notes}
        return {
            v: (sum(n for i, n, _ in notes if i == v), max(step for i, _, step in notes if i == v))
            for v in values
        }

    def score(self, count: int, seen: int) -> float:
        age = self.step - seen + 1
        return {"lfu": count, "lru": seen, "distance_lfu": count / age}[self.policy]


@pytest.mark.parametrize("policy", ["lfu", "lru", "distance_lfu"])
@pytest.mark.parametrize(("buckets", "interval"), [(1, 1), (2, 3), (4, 2)])
def test_values_keep_rows_as_in_a_dictionary(
    policy: Literal["lfu", "lru", "distance_lfu"], buckets: int, interval: int
) -> None:
    """Random ids, few enough to come again and more than there are rows; rows stay with their values."""
    g = torch.Generator().manual_seed(buckets)
    some = torch.randint(1, 2**62, (60,), generator=g)
    module = managed(24, policy=policy, buckets=buckets, interval=interval)
    oracle = Oracle(24, buckets, policy, interval)
    before: dict[int, int] = {}
    evicted = 0
    for step in range(25):
        ids = [*some[torch.randint(0, 15 + 2 * step, (9,), generator=g) % 60].tolist(), 0]
        rows = look_up(module, *ids)
        oracle.add(ids)
        found = values_with_rows(module)
        assert found.keys() == oracle.held.keys(), step
        assert [module.count[module.ids == i].item() for i in found] == [oracle.held[i][0] for i in found]
        assert len(set(found.values())) == len(found)
        assert all(found[i] == before[i] for i in found.keys() & before.keys())
        size, width = 24 // buckets, oracle.width
        others = [i // width * size + size - 1 for i in ids]
        assert rows == [found.get(i, other) for i, other in zip(ids, others, strict=True)]
        assert not set(found.values()) & set(range(size - 1, 24, size))
        fresh = {row for i, row in found.items() if i not in before}
        changed = module.evict()
        assert fresh == (set() if changed is None else set(changed.tolist()))
        evicted += len(before.keys() - found.keys())
        before = found
    assert evicted > 0
    assert module.statistics[2].item() == evicted


def test_a_frequent_value_takes_the_row_of_a_rare_one() -> None:
    """Two rows for values, one for all others (row 2): 7 comes twice, 5 and 8 once; then 8 twice more."""
    module = managed(3)
    assert look_up(module, 7, 5, 7) == [0, 1, 0]
    rows = values_with_rows(module)
    assert rows.keys() == {5, 7}
    assert look_up(module, 8) == [2]  # as frequent as 5, which has a row
    assert look_up(module, 8, 8) == [rows[5]] * 2
    assert values_with_rows(module) == {7: rows[7], 8: rows[5]}
    assert look_up(module.eval(), 5, 0, 7) == [2, 2, rows[7]]


def test_nothing_changes_outside_of_training() -> None:
    module = managed(4)
    look_up(module, 9)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    module.eval()
    assert look_up(module, 11, 11, 12) == [3, 3, 3]
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert module.statistics.tolist() == [1, 1, 0, 1]


def test_no_values_at_all() -> None:
    module = managed(4)
    assert look_up(module) == []
    assert look_up(module, 0) == [3]
    assert module.evict() is None


def test_the_largest_id_of_a_bucket_is_an_id_as_any_other() -> None:
    """Free rows stand in the order of ids as if they had it."""
    module = managed(8, buckets=2)
    last = 2**61 - 1
    assert look_up(module, last, 5) == look_up(module.eval(), last, 5) == [1, 0]
    assert look_up(managed(8, buckets=2).eval(), last, 2**62 - 1) == [3, 7]


def test_the_parts_of_ranks_hold_what_the_whole_holds() -> None:
    whole = managed(16, buckets=4, interval=2)
    parts = [whole.rebuild_with_output_id_range((first, first + 8), [0, 8, 16]) for first in (0, 8)]
    g = torch.Generator().manual_seed(0)
    for _ in range(6):
        ids = torch.randint(1, 30, (20,), generator=g) << 57
        rows = look_up(whole, *ids.tolist())
        mine = [look_up(p, *ids[(ids >> 61) == n].tolist()) for n, p in enumerate(parts)]
        assert sorted(rows) == sorted(mine[0] + mine[1])
    for name in ("ids", "row", "count", "seen", "new_ids", "new_count", "new_seen"):
        assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name)), name


def test_a_loaded_module_goes_on_between_two_changes() -> None:
    first = managed(6, interval=3)
    look_up(first, 5, 5, 9)
    second = managed(6, interval=3)
    second.load_state_dict(first.state_dict())
    for ids in ((9, 4), (3, 3, 3), (2,)):
        assert look_up(first, *ids) == look_up(second, *ids)
    assert all(torch.equal(v, second.state_dict()[k]) for k, v in first.state_dict().items())
    assert values_with_rows(first).keys() == {3, 4, 5, 9}


def test_the_state_of_other_buckets_is_refused() -> None:
    with pytest.raises(ValueError, match="a managed table with 2 buckets, and this one has 4"):
        managed(8, buckets=4).load_state_dict(managed(8, buckets=2).state_dict())


@pytest.mark.parametrize(
    ("rows", "eviction", "message"),
    [
        (10, {"buckets": 4}, "10 rows do not make 4 buckets"),
        (4, {"buckets": 4}, "with 2 rows or more each"),
        (8, {"buckets": 1025}, "buckets is 1025"),
        (8, {"interval": 0}, "interval is 0"),
    ],
)
def test_wrong_settings(rows: int, eviction: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        managed(rows, **eviction)
    bags = embedding_bag_collection([TableConfig(name="t", rows=rows, dim=4, features=["f"])])
    with pytest.raises(ValueError, match=f"table 't': .*{message}"):
        manage(bags, {"t": Eviction(**{"buckets": 1, **eviction})})


def test_a_rank_cannot_hold_half_a_bucket() -> None:
    with pytest.raises(ValueError, match="must divide the 2 buckets"):
        managed(8, buckets=2).rebuild_with_output_id_range((0, 2), [0, 2, 8])


def test_a_table_without_eviction() -> None:
    bags = embedding_bag_collection([TableConfig(name="t", rows=4, dim=4, features=["f"])])
    with pytest.raises(ValueError, match="table 't': has no eviction"):
        manage(bags, {})


def test_collections_look_up_some_keys_of_a_batch() -> None:
    """Bags of f, and rows of g; the batch has another key, too. Values without a row give the last row."""
    ids = KeyedJaggedTensor(
        keys=["x", "g", "f"], values=torch.tensor([1, 2**61, 6, 7]), lengths=torch.tensor([1, 1, 2])
    )
    eviction = Eviction(buckets=1)
    bags = embedding_bag_collection([TableConfig(name="t", rows=4, dim=4, features=["f"])])
    pooled, _ = manage(bags, {"t": eviction}).eval()(ids)
    torch.testing.assert_close(pooled["f"][0], 2 * bags.embedding_bags["t"].weight[3])
    rows = embedding_collection([TableConfig(name="t", rows=4, dim=4, features=["g"], pooling=None)])
    found, _ = manage(rows, {"t": eviction}).eval()(ids)
    torch.testing.assert_close(found["g"].values(), rows.embeddings["t"].weight[3:])
