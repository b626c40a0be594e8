import pytest
import torch

from interactrank.evaluation.corpus_ranks import ranks_of_relevant
from interactrank.evaluation.metrics import request_metrics
from interactrank.evaluation.metrics.recall import corpus_outranking, count_outranking, recall_at_k
from tests.evaluation.golden import golden_case


def test_accidental_hits_do_not_outrank_but_ties_do():
    # True score 0.5. Corpus: 0.9, 0.5 (the item itself), 0.5 (another item), 0.1 -> outranked by 0.9 and 0.5.
    query, item = torch.tensor([[1.0]]), torch.tensor([[0.5]])
    corpus, ids = torch.tensor([[0.9], [0.5], [0.5], [0.1]]), torch.tensor([1, 7, 3, 4])
    assert corpus_outranking(query, item, torch.tensor([7]), corpus, ids).tolist() == [2]
    assert corpus_outranking(query, item, torch.tensor([99]), corpus, ids).tolist() == [3]


def test_recall_and_its_error():
    recall, half_width = recall_at_k(torch.tensor([0, 2, 5, 9]), [1, 3, 10])
    assert recall.tolist() == [0.25, 0.5, 1.0]
    # 1.96 sqrt(.25 .75 / 4), 1.96 sqrt(.5 .5 / 4), 0
    assert half_width.tolist() == pytest.approx([1.96 * 0.1875**0.5 / 2, 0.49, 0.0])


def test_chunks_change_nothing_and_agree_with_the_full_ranking():
    generator = torch.Generator().manual_seed(3)
    query, corpus = torch.randn(9, 4, generator=generator), torch.randn(20, 4, generator=generator)
    item_id = torch.randint(20, (9,), generator=generator)
    whole = corpus_outranking(query, corpus[item_id], item_id, corpus, torch.arange(20))
    parts = corpus_outranking(query, corpus[item_id], item_id, corpus, torch.arange(20), chunk=2)
    assert torch.equal(whole, parts)
    table = request_metrics(ranks_of_relevant(query @ corpus.T, (torch.arange(9), item_id)), ks=[3])
    assert (table["rank_of_first_relevant"] - 1).tolist() == whole.tolist()
    assert table["recall@3"].mean() == pytest.approx(recall_at_k(whole, [3])[0].item())


def test_golden():
    case = golden_case("recall_at_k__a")
    keep = case["in.label"] > 0
    ranks = corpus_outranking(
        case["in.viewer"][keep], case["in.entity"][keep], case["in.entity_id"][keep], case["in.corpus"],
        case["in.corpus_id"],
    )  # fmt: skip
    assert torch.equal(ranks, case["out.ranks"])
    recall, half_width = recall_at_k(ranks, case["in.ks"].tolist())
    torch.testing.assert_close(recall, case["out.recall"])
    torch.testing.assert_close(half_width, case["out.p95_err"])
    logits = case["in.logit_matrix"]
    recall, _ = recall_at_k(count_outranking(logits[:, 0], logits[:, 1:]), case["in.logit_ks"].tolist())
    torch.testing.assert_close(recall, case["out.logit_recall"])


def test_no_row():
    none = corpus_outranking(
        torch.zeros(0, 2),
        torch.zeros(0, 2),
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(3, 2),
        torch.arange(3),
    )
    assert none.shape == (0,)
    assert torch.isnan(recall_at_k(none, [1])[0]).all()


def test_what_is_refused():
    with pytest.raises(ValueError, match="a score is nan"):
        count_outranking(torch.tensor([float("nan")]), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="do not fit"):
        count_outranking(torch.zeros(2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="equally many"):
        corpus_outranking(
            torch.zeros(2, 1), torch.zeros(1, 1), torch.zeros(2), torch.zeros(1, 1), torch.zeros(1)
        )
    with pytest.raises(ValueError, match="every k must be 1 or more"):
        recall_at_k(torch.tensor([0]), [0])
