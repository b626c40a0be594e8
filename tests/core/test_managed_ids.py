import pytest

from interactrank.core.managed_ids import bucket_problem


@pytest.mark.parametrize(
    ("rows", "buckets", "problem"),
    [
        (8, 4, None),  # 2 rows each
        (4, 4, "4 rows do not make 4 buckets of the same size, with 2 rows or more each"),  # 1 row each
        (9, 4, "take a multiple of 4"),
        (8, 0, "buckets is 0; it must be between 1 and 1024"),
        (4096, 2048, "buckets is 2048; it must be between 1 and 1024"),
    ],
)
def test_bucket_problem(rows, buckets, problem):
    found = bucket_problem(rows=rows, buckets=buckets)
    assert found is None if problem is None else problem in found
