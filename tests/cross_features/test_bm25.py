"""LexicalIndex against bm25s's own scores."""

from __future__ import annotations

from math import log
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactrank.cross_features import Bm25, Bm25Settings, CrossFeatures, Jagged, RequestKeys, hash63
from interactrank.cross_features.bm25 import LexicalIndex

SETTINGS = Bm25Settings(columns=["title"], k1=1.5, b=0.5)


def cross(folder: Path, texts: list[list[str]]) -> CrossFeatures:
    index = LexicalIndex.build(folder, texts, SETTINGS)
    return CrossFeatures([Bm25(SETTINGS)], stores={"bm25_words_title": index}, num_items=len(texts))


def parts(queries: list[list[str]]) -> RequestKeys:
    values = np.array([hash63(p) for q in queries for p in q], np.int64)
    jagged = Jagged(values, np.array([len(q) for q in queries]))
    none = np.zeros(len(queries), np.int64)
    return RequestKeys({"bm25-words": jagged}, none, none)


words = st.sampled_from(["halo", "fifa", "xbox", "red", "12"])
texts = st.lists(st.lists(words, max_size=6), min_size=2, max_size=6).filter(any)
queries = st.lists(st.lists(words | st.just("unknown"), max_size=4, unique=True), min_size=1, max_size=3)


@given(texts=texts, queries=queries)
def test_match_is_bm25s_score_over_the_querys_weight(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], queries: list[list[str]]
) -> None:
    features = cross(tmp_path_factory.mktemp("lexical"), texts)
    oracle = bm25s.BM25(method="lucene", k1=1.5, b=0.5)
    oracle.index(texts, show_progress=False)
    expected = []
    for query in queries:
        holding = [sum(word in text for text in texts) for word in query]
        weight = sum(log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for n in holding)  # Lucene's idf
        known = [word for word in query if any(word in text for text in texts)]
        scores = oracle.get_scores(known) if known else np.zeros(len(texts))
        expected.append(scores / weight if query else scores)
    keys = parts(queries)
    whole = features.look_up(keys).number
    assert whole.shape == (len(queries) * len(texts), 1)
    np.testing.assert_allclose(whole[:, 0], np.concatenate(expected), rtol=2e-5, atol=1e-7)
    # A share of the query's weight: at most 1.
    assert whole.min() >= 0
    assert whole.max() <= 1
    some = Jagged(np.tile(np.arange(len(texts))[::-1], len(queries)), np.full(len(queries), len(texts)))
    listed = features.look_up(keys, some).number
    assert np.array_equal(listed.reshape(len(queries), -1)[:, ::-1].reshape(-1, 1), whole)


def test_by_hand(tmp_path: Path) -> None:
    # Two items of one word each: length is average, so with k1 = 1.5 a word scores idf * 1 / (1 + 1.5).
    features = cross(tmp_path, [["halo"], ["fifa"]])
    found = features.look_up(parts([["halo"], ["halo", "fifa"], ["zelda"], []])).number[:, 0].tolist()
    assert found == pytest.approx([0.4, 0, 0.2, 0.2, 0, 0, 0, 0])


def test_unknown_parts_weigh_as_parts_in_no_item(tmp_path: Path) -> None:
    # idf of halo: ln(1 + (2 - 1 + .5) / 1.5) = ln 2; of zelda: ln(1 + 2.5 / .5) = ln 6.
    features = cross(tmp_path, [["halo"], ["fifa"]])
    found = features.look_up(parts([["halo", "zelda"]])).number[:, 0].tolist()
    assert found == pytest.approx([0.4 * log(2) / (log(2) + log(6)), 0])


def test_items_without_any_text(tmp_path: Path) -> None:
    features = cross(tmp_path, [[], []])
    keys = parts([["halo"], []])
    assert features.look_up(keys).number.tolist() == [[0], [0], [0], [0]]
    assert features.look_up(keys, Jagged(np.array([1]), np.array([1, 0]))).number.tolist() == [[0]]
    assert len(LexicalIndex.open(tmp_path).keys) == 0


def test_no_features() -> None:
    assert CrossFeatures([], stores={}, num_items=3).look_up(parts([["halo"], []])).number.shape == (6, 0)


def test_names() -> None:
    assert Bm25Settings(columns=["title", "brand"], analyzer="trigrams").name == "bm25_trigrams_title_brand"
    assert Bm25Settings(columns=["a"]).k1 == 1.2
