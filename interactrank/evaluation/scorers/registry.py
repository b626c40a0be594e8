"""The registry of baselines: rankers that need no training, by the name that ``models`` of a config uses.

A baseline of one's own is a factory in a module of one's own::

    register_baseline(Baseline(name="newest", title="newest first", factory=NewestScorer))

and ``models: [interactrank, newest]`` puts it into the comparison. The command line imports the modules that
a config names in ``plugins``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from interactrank.core.registry import Registry
from interactrank.core.search_space import Domain, Range
from interactrank.cross_features import match_of_words, rate_of_query
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.checks import head_index
from interactrank.evaluation.scorers.bm25 import Bm25Scorer
from interactrank.evaluation.scorers.counts import CountScorer
from interactrank.evaluation.scorers.ctr import CtrScorer, rate_of_item
from interactrank.evaluation.scorers.lambdamart import LambdaMartScorer
from interactrank.evaluation.scorers.protocol import Scorer
from interactrank.evaluation.scorers.touched import TouchedScorer, recency_of_touch
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.schema import SearchSchema

__all__ = ["BASELINES", "Baseline", "register_baseline"]


def _nothing(schema: SearchSchema) -> list[str]:
    return []


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A ranker that needs no training.

    Attributes:
        name: in ``models`` of a config and in ``metrics.json``.
        title: in pages and pictures.
        factory: makes the scorer of a prepared dataset and the settings of its evaluation.
        problems: what a schema lacks for it, one message each; said before anything is prepared.
        search_space: what ``interactrank tune`` varies, by the place of a setting in a config; nothing when
            left out.
    """

    name: str
    title: str
    factory: Callable[[PreparedDataset, EvaluationSettings], Scorer]
    problems: Callable[[SearchSchema], list[str]] = _nothing
    search_space: Mapping[str, Domain] = field(default_factory=dict)


BASELINES: Registry[Baseline] = Registry("baseline")
"""All baselines by name."""


def register_baseline(baseline: Baseline) -> Baseline:
    """Add a baseline to those that a config may name in ``models``.

    Args:
        baseline: with a name of its own.

    Returns:
        ``baseline``.

    Raises:
        RegistryError: the name is taken or cannot be one.
    """
    return BASELINES.add(baseline.name, baseline)


def _needs(find: Callable[[SearchSchema], object], what: str) -> Callable[[SearchSchema], list[str]]:
    """Return the check that a schema has what ``find`` looks for."""
    return lambda schema: [] if find(schema) is not None else [what]


register_baseline(
    Baseline(
        name="bm25",
        title="BM25",
        factory=lambda dataset, settings: Bm25Scorer(dataset),
        problems=_needs(
            match_of_words, "bm25 needs a cross feature of kind bm25 with analyzer words in the schema"
        ),
    )
)
register_baseline(
    Baseline(
        name="counts",
        title="C(p, q) / C(q)",
        factory=lambda dataset, settings: CountScorer(dataset),
        problems=_needs(
            rate_of_query,
            "counts needs a cross feature of kind iqp with key query, without window and segment",
        ),
    )
)
register_baseline(
    Baseline(
        name="ctr",
        title="click-through rate",
        factory=lambda dataset, settings: CtrScorer(dataset, head_index(dataset, settings)),
        problems=_needs(
            rate_of_item,
            "ctr needs a cross feature of kind iqp with key all and statistic rate, "
            "without window or segment",
        ),
    )
)
register_baseline(
    Baseline(
        name="touched",
        title="touched last, then rate",
        factory=lambda dataset, settings: TouchedScorer(dataset, head_index(dataset, settings)),
        problems=_needs(
            recency_of_touch, "touched needs a cross feature of kind touch with statistic recency"
        ),
    )
)
register_baseline(
    Baseline(
        name="lambdamart",
        title="LambdaMART",
        factory=lambda dataset, settings: LambdaMartScorer(
            dataset, head_index(dataset, settings), settings.lambdamart
        ),
        search_space={
            "evaluation.lambdamart.learning_rate": Range(low=0.01, high=0.2, log=True),
            "evaluation.lambdamart.leaves": [4, 7, 15, 31, 63],
            "evaluation.lambdamart.min_candidates": [10, 50, 200, 1000],
            "evaluation.lambdamart.feature_share": Range(low=0.3, high=1.0),
            "evaluation.lambdamart.l2": Range(low=0.1, high=100.0, log=True),
        },
    )
)
