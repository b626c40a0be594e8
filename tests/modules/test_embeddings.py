import pytest
import torch
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.modules import TableConfig, embedding_bag_collection, embedding_collection


def ids(**features):
    lengths = torch.tensor([len(row) for rows in features.values() for row in rows])
    values = torch.tensor([i for rows in features.values() for row in rows for i in row])
    return KeyedJaggedTensor(keys=list(features), values=values, lengths=lengths)


def test_bags_pool_and_features_share_a_table():
    tables = [
        TableConfig(name="sum", rows=4, dim=4, features=["query", "title"]),
        TableConfig(name="mean", rows=4, dim=4, features=["topics"], pooling="mean"),
    ]
    ebc = embedding_bag_collection(tables)
    with torch.no_grad():
        for bag in ebc.embedding_bags.values():
            bag.weight.copy_(torch.arange(4.0).unsqueeze(1).expand(4, 4))  # row i is i everywhere
    out = ebc(ids(query=[[1, 2], []], title=[[3], [0]], topics=[[1, 2], [3]]))
    assert out["query"][:, 0].tolist() == [3.0, 0.0]
    assert out["title"][:, 0].tolist() == [3.0, 0.0]
    assert out["topics"][:, 0].tolist() == [1.5, 3.0]


def test_sequences_keep_a_vector_per_id():
    ec = embedding_collection([TableConfig(name="t", rows=9, dim=4, features=["seq"], pooling=None)])
    out = ec(ids(seq=[[1, 1], []]))["seq"]
    assert out.lengths().tolist() == [2, 0]
    torch.testing.assert_close(out.values()[0], out.values()[1])


def test_tables_start_small_and_can_wait_on_meta():
    config = TableConfig(name="t", rows=1000, dim=8, features=["f"], init_scale=0.02)
    weight = embedding_bag_collection([config]).embedding_bags["t"].weight
    assert 0.019 < weight.abs().max().item() <= 0.02
    meta = embedding_bag_collection([config], device=torch.device("meta"))
    assert meta.embedding_bags["t"].weight.is_meta


def test_all_errors_come_at_once():
    tables = [
        TableConfig(name="a", rows=0, dim=6, features=[], init_scale=0.0),
        TableConfig(name="b", rows=1, dim=4, features=["f"], pooling="max"),
        TableConfig(name="b", rows=1, dim=4, features=["f"]),
    ]
    with pytest.raises(ValueError, match="rows is 0") as failure:
        embedding_bag_collection(tables)
    text = str(failure.value)
    for part in (
        "'a': dim is 6; it must be a positive multiple of 4",
        "'a' has no feature",
        "'a': init_scale is 0.0",
        "'b': pooling is 'max'; an EmbeddingBagCollection allows ['sum', 'mean']",
        "2 tables are called 'b'",
        "feature 'f' is looked up in 2 tables",
    ):
        assert part in text


def test_a_collection_needs_tables_of_one_dim():
    tables = [TableConfig(name=str(d), rows=1, dim=d, features=[str(d)], pooling=None) for d in (4, 8)]
    with pytest.raises(ValueError, match=r"must have one dim, not \[4, 8\]"):
        embedding_collection(tables)
    with pytest.raises(ValueError, match="needs at least one table"):
        embedding_bag_collection([])
