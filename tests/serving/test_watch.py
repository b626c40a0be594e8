"""A watch hears of the stages in their order, and may stop a ranking at its dot products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from interactrank.serving import PreRanker
from interactrank.serving.ranking import Ranking
from interactrank.serving.watch import STAGES
from tests.data.logs import requests
from tests.serving.exported import Exported, live_request


class Recorder:
    """Notes the stages; stops if it is told to."""

    def __init__(self, *, stop: bool) -> None:
        self.stop, self.stages = stop, []
        self.ready: Ranking | None = None

    def begin(self, stage: str) -> None:
        self.stages.append(stage)

    def goes_on(self, dots: Tensor, rank: Callable[[Tensor], Ranking]) -> bool:
        self.ready = rank(dots.clone())
        return not self.stop


def test_a_ranking_that_is_stopped_is_by_dot_products_alone(made: Exported, ranker: PreRanker) -> None:
    request = live_request(made, requests(made.log, "test")[0]["request_id"])
    where = ranker.filters.mask(blocked=["i4"])
    full = ranker.rank(request, where=where, explain=True)
    assert full.explanations is not None
    dots = dict(zip(full.ids, (why.dot for why in full.explanations), strict=True))
    watch = Recorder(stop=True)
    found = ranker.rank(request, where=where, k=5, watch=watch)
    assert found.degraded
    assert found.explanations is None
    assert found.ids == sorted(dots, key=lambda item: -dots[item])[:5]
    np.testing.assert_allclose(found.scores, [dots[i] for i in found.ids], rtol=1e-5, atol=1e-6)
    assert "i4" not in found.ids
    assert watch.stages == list(STAGES[:4])


def test_what_is_ready_does_not_change_what_is_ranked(made: Exported, ranker: PreRanker) -> None:
    request = live_request(made, requests(made.log, "test")[1]["request_id"])
    watch = Recorder(stop=False)
    found = ranker.rank(request, watch=watch)
    assert not found.degraded
    assert found.scores.tolist() == ranker.rank(request).scores.tolist()
    assert watch.ready is not None
    assert watch.ready.degraded
    assert watch.ready.ids != found.ids or watch.ready.scores.tolist() != found.scores.tolist()
    assert watch.stages == list(STAGES)


def test_the_first_results_alone_are_explained(made: Exported, ranker: PreRanker) -> None:
    request = live_request(made, requests(made.log, "test")[0]["request_id"])
    whole, some = ranker.rank(request, explain=True), ranker.rank(request, explain=2)
    assert whole.explanations is not None
    assert some.explanations == whole.explanations[:2]
    assert some.ids == whole.ids
