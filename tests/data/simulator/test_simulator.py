"""The simulated log: what it holds, that its truth is true, and that nothing is half-written."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.core.settings import ConfigError, parse_config
from interactrank.data.simulator import SimulationSettings, simulate
from interactrank.data.simulator import behaviour as behaviour_module
from interactrank.data.simulator import searches as searches_module
from interactrank.data.simulator.behaviour import blocks
from interactrank.data.simulator.responses import affinity, engagement_probability, uniform_hash
from interactrank.data.simulator.searches import BLOCK, DAY, Interests
from interactrank.data.simulator.words import RARE_WORDS, Vocabulary, spell
from interactrank.data.simulator.world import build_world

FILES = ["events.parquet", "items.parquet", "simulation.json", "users.parquet"]
SMALL = {"users": 60, "items": 120, "intents": 12, "topics": 4, "requests": 300}


def columns(folder: Path, *names: str) -> list[Any]:
    table = pq.read_table(folder / "events.parquet")
    return [table[name].to_numpy() for name in names]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default world with two blocks of requests and a part of a third."""
    return simulate(SimulationSettings(requests=10_000), tmp_path_factory.mktemp("log") / "log").folder


def test_files_and_columns(log: Path) -> None:
    assert sorted(file.name for file in log.iterdir()) == FILES
    schema = pq.read_schema(log / "events.parquet")
    assert dict(zip(schema.names, map(str, schema.types), strict=True)) == {
        "request_id": "int64",
        "user_id": "int64",
        "query": "string",
        "item_id": "int64",
        "timestamp": "timestamp[ms, tz=UTC]",
        "position": "int16",
        "click": "int8",
        "save": "int8",
        "long_click": "int8",
        "short_click": "int8",
        "true_probability": "float",
        "split": "string",
    }
    items, users = pq.read_table(log / "items.parquet"), pq.read_table(log / "users.parquet")
    assert items.column_names == ["item_id", "title", "category", "price", "rating"]
    assert items["item_id"].to_pylist() == list(range(1000))
    assert users["user_id"].to_pylist() == list(range(1500))
    assert set(users["gender"].to_pylist()) == {"female", "male"}
    assert set(users["country"].to_pylist()) == {"US", "DE", "FR", "BR"}
    record = json.loads((log / "simulation.json").read_text())
    assert SimulationSettings(**record["settings"]) == SimulationSettings(requests=10_000)
    assert record["version"]


def test_requests_are_whole_and_in_order_of_time(log: Path) -> None:
    request, user, item, position = columns(log, "request_id", "user_id", "item_id", "position")
    time = pq.read_table(log / "events.parquet")["timestamp"].cast(pa.int64()).to_numpy()
    assert (np.diff(time) >= 0).all()
    first = np.flatnonzero(np.diff(request, prepend=-1))
    assert request[first].tolist() == list(range(10_000))
    sizes = np.diff(np.append(first, len(request)))
    assert (sizes.min(), sizes.max()) == (20, 30)
    assert (position == np.arange(len(request)) - np.repeat(first, sizes) + 1).all()
    for values in (user, time):
        assert (values == np.repeat(values[first], sizes)).all()
    assert len(np.unique(request * 1000 + item)) == len(request)  # no item twice in a request
    start = round(SimulationSettings().start.timestamp() * 1000)
    assert time[0] >= start
    assert time[-1] < start + 120 * DAY


def test_the_splits_are_shares_of_the_time_span(log: Path) -> None:
    table = pq.read_table(log / "events.parquet")
    day = (table["timestamp"].cast(pa.int64()).to_numpy() - 1_704_067_200_000) / DAY  # 2024-01-01
    split = table["split"].to_numpy(zero_copy_only=False)
    # 120 days: train below 0.7 * 120 = 84, validation below 0.78 * 120 = 93.6
    for name, low, high in (("train", 0, 84), ("validation", 84, 93.6), ("test", 93.6, 120)):
        assert low <= day[split == name].min() < low + 0.5
        assert high - 0.5 < day[split == name].max() < high


def test_same_seed_same_bytes_other_seed_other_log(tmp_path: Path) -> None:
    one, same, other = (
        simulate(SimulationSettings(**SMALL, seed=seed), tmp_path / name).folder
        for name, seed in (("one", 3), ("same", 3), ("other", 4))
    )
    for file in FILES:
        assert (one / file).read_bytes() == (same / file).read_bytes()
    assert not pq.read_table(one / "events.parquet").equals(pq.read_table(other / "events.parquet"))


def test_a_row_group_is_a_block(log: Path) -> None:
    metadata = pq.read_metadata(log / "events.parquet")
    assert metadata.num_row_groups == 3  # 10,000 requests = 4,096 + 4,096 + 1,808
    requests = [
        len(np.unique(pq.ParquetFile(log / "events.parquet").read_row_group(group)["request_id"].to_numpy()))
        for group in range(3)
    ]
    assert requests == [4096, 4096, 1808]


def test_memory_does_not_grow_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than two blocks are alive at any time: the one being written and the one before it."""
    monkeypatch.setattr(searches_module, "BLOCK", 32)
    seen: list[weakref.ref[Any]] = []

    class Watched(behaviour_module.Block):
        def __init__(self, *values: Any) -> None:
            super().__init__(*values)
            seen.append(weakref.ref(self))
            assert sum(block() is not None for block in seen) <= 2

    monkeypatch.setattr(behaviour_module, "Block", Watched)
    simulate(SimulationSettings(**SMALL), tmp_path / "log")
    assert len(seen) == 10  # 300 requests = 9 blocks of 32 and one of 12


def test_the_log_does_not_depend_on_how_it_is_consumed() -> None:
    settings = SimulationSettings(**{**SMALL, "requests": BLOCK + 100})
    world = build_world(settings)
    at_once = list(blocks(settings, world))
    for block, again in zip(at_once, blocks(settings, world), strict=True):
        assert (block.item == again.item).all()
        assert (block.responses.probability == again.responses.probability).all()
    assert [len(block) for block in at_once] == [BLOCK, 100]


def test_actions_are_consistent(log: Path) -> None:
    click, save, long_click, short_click = columns(log, "click", "save", "long_click", "short_click")
    assert set(np.unique(np.stack([click, save, long_click, short_click]))) == {0, 1}
    assert not (long_click & (1 - click)).any()  # a long click is a click
    assert not (short_click & (1 - click)).any()
    assert not (short_click & long_click).any()
    assert (save & (1 - click)).any()  # a save without a click exists
    assert (save & short_click).any()  # and one that a short click cancels
    # 15 % regret on average, but good items, which attract more, are regretted less.
    assert 0.02 < short_click.sum() / click.sum() < 0.15


def test_the_stated_probability_is_the_rate_of_engagement(log: Path) -> None:
    probability, *actions = columns(log, "true_probability", "click", "save", "long_click", "short_click")
    click, save, long_click, short_click = (action.astype(bool) for action in actions)
    engaged = (click | save | long_click) & ~short_click
    assert probability.min() >= 0
    assert probability.max() <= 1
    # In each tenth of the impressions by stated probability, the count of engagements is a sum of
    # independent draws: mean sum(p), variance sum(p (1 - p)). Ten comparisons at 4 deviations fail by
    # chance once in 1,600.
    for part in np.array_split(np.argsort(probability, kind="stable"), 10):
        p = probability[part].astype(np.float64)
        assert abs(engaged[part].sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum()) + 1


def test_probability_by_hand() -> None:
    # logit 0 attracts half; a third regret; the position is looked at with 0.6: 0.6 * 0.5 * 2/3 = 0.2
    value = engagement_probability(
        logit=np.float32([0.0]), short_click=np.float32([1 / 3]), examination=np.float32([0.6])
    )
    assert value.tolist() == pytest.approx([0.2])


def hit(score: np.ndarray, request: np.ndarray, engaged: np.ndarray) -> float:
    """HIT@3 over the requests with an engagement, the slow way."""
    hits = []
    for rows in np.split(np.arange(len(request)), np.flatnonzero(np.diff(request)) + 1):
        if engaged[rows].any():
            hits.append(engaged[rows[np.argsort(-score[rows], kind="stable")[:3]]].any())
    return float(np.mean(hits))


def test_truth_beats_popularity_beats_chance(log: Path) -> None:
    table = pq.read_table(log / "events.parquet")
    names = ("request_id", "item_id", "true_probability", "click", "save", "long_click", "short_click")
    request, item, truth, *actions = (table[name].to_numpy() for name in names)
    click, save, long_click, short_click = (action.astype(bool) for action in actions)
    engaged = (click | save | long_click) & ~short_click
    train = table["split"].to_numpy(zero_copy_only=False) == "train"
    test = table["split"].to_numpy(zero_copy_only=False) == "test"
    popularity = np.bincount(item[train], engaged[train], minlength=1000)[item]
    chance = np.random.default_rng(0).random(len(item))
    optimum, popular, random = (
        hit(score[test], request[test], engaged[test]) for score in (truth, popularity, chance)
    )
    assert optimum > popular + 0.1 > random + 0.2


def test_lower_positions_are_looked_at_less(tmp_path: Path) -> None:
    """With a logged order that ignores the match, the only cause of a slope over positions is the bias."""
    rates = {}
    for bias in (0.0, 0.5):
        settings = SimulationSettings(
            **{**SMALL, "requests": 4000}, position_bias=bias, retrieval_strength=0.0, base=-3.0
        )
        folder = simulate(settings, tmp_path / str(bias)).folder
        position, probability, click = columns(folder, "position", "true_probability", "click")
        top, low = position == 1, position == 16
        rates[bias] = (
            probability[low].mean() / probability[top].mean(),
            click[low].mean() / click[top].mean(),
        )
    assert rates[0.0] == pytest.approx((1.0, 1.0), abs=0.15)
    # 16 ** -0.5 = 0.25
    assert rates[0.5] == pytest.approx((0.25, 0.25), abs=0.06)


def test_the_logged_order_follows_the_match_only_roughly(log: Path) -> None:
    position, probability = columns(log, "position", "true_probability")
    plain = probability * position**0.1  # without the position bias of the default settings
    assert plain[position == 1].mean() > 1.2 * plain[position == 20].mean()


@pytest.mark.parametrize("strength", ["interest_strength", "affinity_strength", "quality_strength"])
def test_each_cause_spreads_the_probabilities(strength: str, tmp_path: Path) -> None:
    spread = []
    for value in (0.0, 3.0):
        settings = SimulationSettings(**SMALL, **{strength: value})
        (probability,) = columns(simulate(settings, tmp_path / f"{value}").folder, "true_probability")
        spread.append(np.log(probability).std())
    assert spread[1] > spread[0]


def test_queries_have_a_head_a_tail_and_new_words(log: Path) -> None:
    table = pq.read_table(log / "events.parquet", columns=["request_id", "query", "split"])
    first = np.flatnonzero(np.diff(table["request_id"].to_numpy(), prepend=-1))
    query, split = (table[name].to_numpy(zero_copy_only=False)[first] for name in ("query", "split"))
    assert {len(text.split()) for text in query} == {1, 2, 3, 4}  # 1 to 3 words, and a rare one at times
    counts = np.sort(np.unique(query, return_counts=True)[1])[::-1]
    assert counts[:10].sum() > 0.2 * len(query)
    seen = set(query[split == "train"])
    unseen = np.mean([text not in seen for text in query[split == "test"]])
    assert 0.02 < unseen < 0.2  # rare words alone make 5 %


def test_an_intent_is_not_searched_before_it_appears() -> None:
    settings = SimulationSettings(requests=8000, late_intents=0.9)
    world = build_world(settings)
    assert (world.intents.birth > 0).mean() > 0.5
    start = settings.start.timestamp() * 1000
    for block in blocks(settings, world):
        moment = (block.searches.time - start) / (settings.days * DAY)
        assert (moment >= world.intents.birth[block.searches.query // 3]).all()


def test_pools_hold_different_items_mostly_of_the_topic() -> None:
    world = build_world(SimulationSettings())
    pool = np.sort(world.intents.pool, axis=1)
    assert (np.diff(pool, axis=1) > 0).all()
    on_topic = world.items.topic[world.intents.pool] == world.intents.topic[:, None]
    assert (on_topic.sum(axis=1) == 27).all()  # a quarter of 36 is off topic


@pytest.mark.parametrize("changes", [{"topics": 1}, {"topics": 120}, {"items": 36}, {"candidates_max": 36}])
def test_pools_are_full_in_unusual_worlds(changes: dict[str, int]) -> None:
    settings = SimulationSettings(**{**SMALL, **changes})
    world = build_world(settings)
    assert all(len(set(row)) == 36 for row in world.intents.pool.tolist())
    (block,) = blocks(settings, world)
    assert block.item.shape == (300, settings.candidates_max)


def test_segments_see_different_affinities() -> None:
    settings = SimulationSettings(affinity_density=0.0, segment_affinity_density=0.1)
    pair, zero = np.arange(20_000), np.zeros(1, dtype=np.int64)
    day = np.zeros(1)
    first, second = (
        affinity(settings, pair=pair, country=zero + country, gender=zero, day=day) for country in (0, 1)
    )
    # One country and one gender: 1 - 0.9 * 0.9 = 0.19; deviation sqrt(.19 * .81 / 20,000) = 0.0028
    assert first.mean() == pytest.approx(0.19, abs=0.012)
    # They share what the gender brings: 1 - (1 - 0.1) * (1 - 0.1 * 0.1) = 0.109; deviation 0.0022
    assert (first & second).mean() == pytest.approx(0.109, abs=0.01)


def test_affinities_are_drawn_anew() -> None:
    settings = SimulationSettings(affinity_density=0.1, segment_affinity_density=0.0, affinity_days=40)
    pair, zero = np.arange(20_000), np.zeros(1, dtype=np.int64)
    now, soon, later = (
        affinity(settings, pair=pair, country=zero, gender=zero, day=np.array([day]))
        for day in (0.0, 10.0, 40.0)
    )
    # After 10 of 40 days a quarter of the pairs is new: 0.1 * (0.75 + 0.25 * 0.1) = 0.0775 are still there.
    assert (now & soon).mean() == pytest.approx(0.0775, abs=0.008)
    assert (now & later).mean() == pytest.approx(0.01, abs=0.003)  # 0.1 * 0.1: all are new
    assert later.mean() == pytest.approx(0.1, abs=0.009)


def test_hash_is_uniform_and_depends_on_every_key() -> None:
    values = uniform_hash(7, np.arange(300)[:, None], np.arange(200)[None, :]).ravel()
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    assert values.min() >= 0
    assert values.max() < 1
    # 60,000 values, 3,000 a bin, deviation 53: five of them are 267
    assert np.abs(counts - 3000).max() < 267
    assert len(np.unique(values)) == 60_000
    assert uniform_hash(7, np.array([1]), np.array([2])) != uniform_hash(7, np.array([2]), np.array([1]))


def test_interests_carry_over_and_move_on() -> None:
    settings = SimulationSettings(users=5000, styles=5, interest_days=10)
    rng = np.random.default_rng(0)
    users = np.arange(5000)
    interests = Interests(settings)
    at_first = interests.at(users, np.zeros(5000, dtype=np.int64), rng)
    at_once = interests.at(users, np.ones(5000, dtype=np.int64), rng)
    assert (at_first == at_once).mean() > 0.999  # a millisecond of 10 days
    # After 10 days exp(-1) = 0.368 have stayed, and a fifth of the others drew the same style:
    # 0.368 + 0.632 / 5 = 0.494; deviation 0.007
    later = interests.at(users, np.full(5000, 10 * DAY + 1), rng)
    assert (at_first == later).mean() == pytest.approx(0.494, abs=0.03)


def test_interests_of_one_call_follow_the_order_of_time() -> None:
    """Many requests of a user in one call: constant in a burst, and the last one is remembered."""
    settings = SimulationSettings(users=3, styles=50, interest_days=10)
    interests, rng = Interests(settings), np.random.default_rng(0)
    user = np.array([0, 1, 0, 1, 0, 2])
    time = np.array([0, 1, 2, 3, 4, 5])
    value = interests.at(user, time, rng)
    assert value[0] == value[2] == value[4]
    assert value[1] == value[3]
    again = interests.at(np.array([2, 1, 0]), np.array([6, 7, 8]), rng)
    assert again.tolist() == [value[5], value[3], value[4]]


@pytest.mark.slow
def test_words_differ_and_kinds_of_words_do_not_overlap() -> None:
    assert len({spell(number) for number in range(343_000 * 2)}) == 686_000
    words = Vocabulary(topics=3, aspects=2, styles=4)
    topic, pick = np.arange(3), np.arange(50)
    kinds = [
        set(range(24)),
        set(words.style(np.arange(4)[:, None], pick[None]).ravel().tolist()),
        set(words.topic(topic[:, None], pick[None]).ravel().tolist()),
        {
            int(number)
            for aspect in range(2)
            for number in words.aspect(
                topic[:, None], np.int64(aspect) + 0 * topic[:, None], pick[None]
            ).ravel()
        },
        {words.rare(number) for number in range(RARE_WORDS)},
    ]
    assert [len(kind) for kind in kinds] == [24, 8, 12, 36, RARE_WORDS]
    assert len(set().union(*kinds)) == sum(map(len, kinds))


def test_dense_vectors_when_asked_for(tmp_path: Path) -> None:
    folder = simulate(SimulationSettings(**SMALL, dense_dimension=8), tmp_path / "log").folder
    table = pq.read_table(folder / "items.parquet")
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[8]"
    topic = build_world(SimulationSettings(**SMALL)).items.topic
    vector = np.stack(table["vector"].to_numpy())
    unit = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    alike = unit @ unit.T
    same = topic[:, None] == topic[None, :]
    assert alike[same].mean() > alike[~same].mean() + 0.1


def test_one_of_everything(tmp_path: Path) -> None:
    settings = SimulationSettings(
        users=1,
        items=2,
        intents=1,
        topics=1,
        aspects=1,
        requests=1,
        candidates_min=1,
        candidates_max=1,
        pool=1,
        countries=1,
    )
    assert simulate(settings, tmp_path / "log").impressions == 1


def test_progress_is_told_after_each_block(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    settings = SimulationSettings(**{**SMALL, "requests": BLOCK + 10})
    summary = simulate(settings, tmp_path / "log", progress=lambda done, total: told.append((done, total)))
    assert told == [(BLOCK, BLOCK + 10), (BLOCK + 10, BLOCK + 10)]
    assert summary.requests == BLOCK + 10
    assert summary.impressions == pq.read_metadata(tmp_path / "log" / "events.parquet").num_rows
    assert sum(summary.engaged_requests.values()) <= summary.requests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": -1}, "users"),
        ({"requests": 0}, "requests"),
        ({"title_noise": 1.5}, "title_noise"),
        ({"interest_days": 0}, "interest_days"),
        ({"countries": 40}, "countries"),
        ({"user": 5}, "did you mean 'users'"),
        ({"items": 20}, "candidates_max is 30, more than items 20; lower candidates_max"),
        ({"pool": 25}, "candidates_max is 30, more than pool 25; raise pool or lower candidates_max"),
        ({"pool": 2000}, "pool is 2000, more than items 1000; lower pool or add items"),
        ({"candidates_min": 31}, "candidates_max is 30, below candidates_min 31; raise candidates_max"),
        ({"train_share": 0.95}, "leaves no time for the test split"),
        ({"topics": 5000}, "topics is 5000, more than items 1000; lower topics"),
        ({"start": "2024-01-01"}, "start has no time zone; write it in UTC"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(SimulationSettings, changes)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_simulation_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupt(done: int, total: int) -> None:
        raise error

    with pytest.raises(error):
        simulate(SimulationSettings(**SMALL), tmp_path / "log", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_simulation_leaves_the_earlier_log(tmp_path: Path) -> None:
    simulate(SimulationSettings(**SMALL), tmp_path / "log")
    before = (tmp_path / "log" / "events.parquet").read_bytes()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SimulationSettings(**SMALL, seed=1), tmp_path / "log", overwrite=True, progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log" / "events.parquet").read_bytes() == before
    simulate(SimulationSettings(**SMALL, seed=1), tmp_path / "log", overwrite=True)
    assert (tmp_path / "log" / "events.parquet").read_bytes() != before


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(
        FileExistsError, match="mine exists already; choose another folder, or pass overwrite"
    ):
        simulate(SimulationSettings(**SMALL), tmp_path / "mine")
    with pytest.raises(FileExistsError, match="mine is not a simulated log"):
        simulate(SimulationSettings(**SMALL), tmp_path / "mine", overwrite=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
