"""Vectors of three precisions against float64 products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from interactrank.serving import ArtifactError
from interactrank.serving.item_vectors import ItemVectors, Precision

ERRORS: dict[Precision, float] = {"float32": 1e-6, "float16": 1e-3, "int8": 2e-2}


@pytest.mark.parametrize("precision", ERRORS)
def test_dots(tmp_path: Path, precision: Precision) -> None:
    random = np.random.default_rng(0)
    exact = random.normal(size=(20_000, 8)).astype(np.float32)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    exact[7] = 0  # a row of zeros has no scale
    query = exact[3].copy()
    ItemVectors.of(exact, precision).write(tmp_path)
    vectors = ItemVectors.open(tmp_path)
    expected = exact.astype(np.float64) @ query
    np.testing.assert_allclose(vectors.dots(torch.from_numpy(query)), expected, atol=ERRORS[precision])
    rows = random.permutation(20_000)[:17_000]
    found = vectors.dots(torch.from_numpy(query), torch.from_numpy(rows))
    np.testing.assert_allclose(found, expected[rows], atol=ERRORS[precision])
    slow = vectors.slow_dots(torch.from_numpy(query), torch.from_numpy(rows))
    np.testing.assert_allclose(found, slow, atol=1e-6)
    assert (tmp_path / "vectors").stat().st_size == exact.size * np.dtype(precision).itemsize


def test_a_row_that_does_not_exist_and_a_query_of_another_width() -> None:
    """Nothing outside of the vectors is read."""
    for precision in ("float32", "float16", "int8"):
        vectors = ItemVectors.of(np.ones((3, 4), np.float32), precision)
        for row in (3, -1, 1 << 40):
            with pytest.raises((IndexError, RuntimeError)):
                vectors.dots(torch.ones(4), torch.tensor([0, row]) if row >= 0 else torch.tensor([-4]))
        with pytest.raises((ValueError, RuntimeError)):
            vectors.dots(torch.ones(5), torch.tensor([0]))


def test_no_items(tmp_path: Path) -> None:
    ItemVectors.of(np.empty((0, 4), np.float32), "float32").write(tmp_path)
    assert len(ItemVectors.open(tmp_path).dots(torch.ones(4))) == 0


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    ItemVectors.of(np.ones((3, 4), np.float32), "int8").write(tmp_path)
    (tmp_path / "scales").write_bytes(b"1234")
    with pytest.raises(ArtifactError, match=r"no readable item vectors \(scales has 4 bytes instead of 12\)"):
        ItemVectors.open(tmp_path)
    (tmp_path / "shape.json").write_text("{}")
    with pytest.raises(ArtifactError, match="export again"):
        ItemVectors.open(tmp_path)
