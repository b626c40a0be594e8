from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder

from interactrank.sharding.torchrec_patches.row_wise_on_cpu import BagsSharder

ROW_WISE = {"row_wise", "table_row_wise", "grid_shard"}


def test_row_wise_on_cpu__torchrec_still_leaves_the_types_out() -> None:
    assert not ROW_WISE & set(EmbeddingBagCollectionSharder().sharding_types("cpu"))
    assert set(BagsSharder().sharding_types("cpu")) >= ROW_WISE
