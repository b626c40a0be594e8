"""Scorers: the model's is the score that training optimises; BM25 and the truth of a simulated log."""

from pathlib import Path

import numpy as np
import pytest
import torch

from interactrank.data.errors import DatasetError
from interactrank.data.loading.collate import collate
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers import (
    Bm25Scorer,
    CountScorer,
    CrossBlock,
    ModelScorer,
    TrueProbabilityScorer,
)
from interactrank.models import MODELS
from interactrank.models.cross_terms import CrossTerms
from tests.data import logs
from tests.models.search import RowCounter, model, requests

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", MODELS)
def test_training_logged_and_catalogue_evaluation_give_one_score(log: PreparedDataset, name: str) -> None:
    m, chosen = model(log, name=name), requests(log, "test")
    batch = collate(chosen, chosen.candidates(), log.items)
    trained = m.score(batch).detach()
    logged = chosen.jagged("candidates")
    pairs = np.repeat(np.arange(len(chosen)), logged.lengths), logged.values.copy()
    for head in (0, 1):
        score = ModelScorer(m, log, head, CPU)
        torch.testing.assert_close(score(chosen, logged), trained[:, head])
        catalogue = score(chosen, None)
        assert catalogue.shape == (len(chosen), len(log.items))
        torch.testing.assert_close(catalogue[pairs], trained[:, head])


@pytest.mark.parametrize("name", MODELS)
def test_the_size_of_blocks_changes_nothing(log: PreparedDataset, name: str) -> None:
    m, chosen = model(log, name=name), requests(log, "test")
    logged = chosen.jagged("candidates")
    small, large = ModelScorer(m, log, 0, CPU, chunk=3), ModelScorer(m, log, 0, CPU)
    torch.testing.assert_close(small(chosen, logged), large(chosen, logged))
    torch.testing.assert_close(small(chosen, None), large(chosen, None))


@pytest.mark.parametrize("catalogue", [True, False])
def test_evaluation_encodes_each_request_and_each_item_once(log: PreparedDataset, catalogue: bool) -> None:
    m, chosen = model(log), requests(log, "test")
    with RowCounter(m.query_tower) as queries, RowCounter(m.item_tower) as items:
        score = ModelScorer(m, log, 0, CPU, chunk=5)
        score(chosen, None if catalogue else chosen.jagged("candidates"))
    assert queries == [len(chosen)]
    assert items == [5, 5, 2]  # the 12 items of the catalogue


def test_a_two_tower_reads_no_history(log: PreparedDataset) -> None:
    m = model(log, use_sequence=False, use_cross_features=False)
    without = PreparedDataset(log.folder)
    without.__dict__["cross"] = None  # nothing there to read
    chosen = requests(log, "test")
    for candidates in (None, chosen.jagged("candidates")):
        expected = ModelScorer(m, log, 0, CPU)(chosen, candidates)
        torch.testing.assert_close(ModelScorer(m, without, 0, CPU)(chosen, candidates), expected)


def test_the_compiled_scores_of_the_catalogue_are_those_of_pytorch(
    log: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = requests(log, "test")
    for head in (0, 1):
        for m in (model(log), model(log, use_cross_features=False), model(log, shared_projection=False)):
            compiled = ModelScorer(m, log, head, CPU)(chosen, None)
            with monkeypatch.context() as patch:
                patch.setattr(CrossTerms, "of", lambda head, cross: None)
                slow = ModelScorer(m, log, head, CPU)(chosen, None)
            torch.testing.assert_close(compiled, slow, rtol=1e-4, atol=1e-4)


def test_models_share_the_features_of_a_block(log: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed once for each block, and again for other candidates; the scores are those of a model alone."""
    monkeypatch.setattr(CrossTerms, "of", lambda head, cross: None)  # it does not lay them out at all
    first, second = model(log), model(log, seed=1, exclude_features=["query_click"])
    chosen = requests(log, "test")
    calls: list[bool] = []
    look_up = log.cross.look_up

    def counted(keys, candidates=None, **options):
        calls.append(candidates is None)
        return look_up(keys, candidates, **options)

    alone = {
        (m, whole): ModelScorer(m, log, 0, CPU)(chosen, None if whole else chosen.jagged("candidates"))
        for whole in (True, False)
        for m in (first, second)
    }
    monkeypatch.setattr(log.cross, "look_up", counted)
    cross = CrossBlock(log, {*first.score_head.reads, *second.score_head.reads})
    shared = {m: ModelScorer(m, log, 0, CPU, cross=cross) for m in (first, second)}
    for (m, whole), expected in alone.items():
        torch.testing.assert_close(
            shared[m](chosen, None if whole else chosen.jagged("candidates")), expected
        )
    assert calls == [True, False]
    again = requests(log, "test")
    torch.testing.assert_close(shared[first](again, again.jagged("candidates")), alone[first, False])
    assert calls == [True, False, False]


def test_bm25_breaks_ties_by_popularity(tmp_path: Path) -> None:
    items = [logs.item("a", "red shoe"), logs.item("b", "red shoe"), logs.item("c", "blue hat")]
    events = [
        logs.event("r1", "u", "red", "b", 0, click=1),
        logs.event("r2", "u", "hat", "c", 60, click=1),
        logs.event("r2", "u", "hat", "b", 60),
        logs.event("r3", "u", "red", "a", 120, split="test", click=1),
        logs.event("r3", "u", "red", "c", 120, split="test"),
    ]
    log = logs.prepared(tmp_path, events, items, [logs.user("u")], schema=logs.schema())
    chosen, score = requests(log, "test"), Bm25Scorer(log)
    (row,) = score(chosen, None)
    a, b, c = (row[log.items.ids.index(name)].item() for name in "abc")
    # a and b have the same text; b was shown twice in training, c once, a never. c shares no word.
    assert b > a > 0.1 > c > 0
    assert b - a == pytest.approx(1e-4 * 2 / 3, rel=0.01)
    assert c == pytest.approx(1e-4 * 1 / 3, rel=0.01)
    logged = chosen.jagged("candidates")
    assert torch.equal(score(chosen, logged), row[torch.from_numpy(logged.values.astype(np.int64))])


def test_bm25_needs_a_feature_over_words(tmp_path: Path) -> None:
    events = [logs.event("r1", "u", "red", "a", 0, click=1)]
    log = logs.prepared(tmp_path, events, [logs.item("a")], schema=logs.minimal())
    with pytest.raises(DatasetError, match="bm25 needs a cross feature of kind bm25 with analyzer words"):
        Bm25Scorer(log)


def test_the_truth_of_a_simulated_log(tmp_path: Path) -> None:
    events = [
        logs.event("r1", "u", "red", name, 0, click=int(name == "a"), truth=p)
        for name, p in (("a", 0.25), ("b", 0.75))
    ]
    items, schema = [logs.item("a"), logs.item("b")], logs.schema("events.true_probability=truth")
    log = logs.prepared(tmp_path / "simulated", events, items, [logs.user("u")], schema=schema)
    chosen = requests(log)
    truth = TrueProbabilityScorer(log)(chosen, chosen.jagged("candidates"))
    shown = [log.items.ids[i] for i in chosen.jagged("candidates").values]
    assert dict(zip(shown, truth.tolist(), strict=True)) == {"a": 0.25, "b": 0.75}
    with pytest.raises(DatasetError, match="for the logged candidates only"):
        TrueProbabilityScorer(log)(chosen, None)
    real = logs.prepared(tmp_path / "real", events, items, [logs.user("u")], schema=logs.schema())
    with pytest.raises(DatasetError, match="only a simulated log"):
        TrueProbabilityScorer(real)


def test_counts_are_the_share_of_the_query_before_the_request_then_popularity(log: PreparedDataset) -> None:
    chosen = requests(log, "test")
    names = log.cross.columns.rate_names
    rate = log.cross.look_up(chosen.keys()).rate
    share = rate[:, names.index("query_click")].reshape(len(chosen), -1).astype(np.float64)
    count = log.items.train_count
    found = CountScorer(log)(chosen, None).numpy()
    for r in range(len(chosen)):
        order = sorted(range(len(count)), key=lambda p: (-share[r, p], -count[p]))
        assert (np.diff(found[r][order]) <= 0).all()
    logged = chosen.jagged("candidates")
    pairs = np.repeat(np.arange(len(chosen)), logged.lengths), logged.values
    assert np.array_equal(CountScorer(log)(chosen, logged).numpy(), found[pairs])


def test_counts_need_their_feature(log: PreparedDataset) -> None:
    without = PreparedDataset(log.folder)
    without.__dict__["schema"] = log.schema.model_copy(
        update={"cross_features": log.schema.cross_features[2:3]}
    )
    with pytest.raises(DatasetError, match="counts needs a cross feature of kind iqp with key query"):
        CountScorer(without)
