"""One request's candidates scored, and the best k kept, as a serving engine does with this library.

    python -m benchmarks.scoring --threads 1

The query's vector is there; candidates are rows of the catalogue's embeddings. ``pre_ranker_dot`` takes their
dot products; ``pre_ranker_history`` also looks the history of (query, candidate) up and fuses it. They are
made of the parts of ``PreRanker``. ``eager_*`` is the score as training computes it. ``matmul_topk``, the
limit, has the candidates' vectors side by side, which no engine has; FAISS and usearch search the same
vectors exactly. ``early_interaction`` runs a MaskNet over the features of query and item for every candidate.
In the groups ``catalogue`` all items are candidates, whose vectors do lie side by side; there int8 vectors
are measured, too. The group ``request`` is a whole request on the demo's log. Requests change from call to
call, so that no cache holds their rows. Before a size is measured, all that are exact must keep the same
candidates.

Shapes: N items of the catalogue, C candidates, D embedding dim, X history features, k kept.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks import report
from benchmarks.harness import Contestant, Group, Script, Step, main
from benchmarks.scoring_data import DIM, DOT_WEIGHT, Engine, Request, engine, score_head_of
from benchmarks.scoring_limits import lightgbm_predict, limits_table, overlap
from benchmarks.scoring_request import request_group
from benchmarks.scoring_tables import bandwidth_table, flops_table, parts_table
from benchmarks.train_step import BLOCK, BLOCKS, HIDDEN, ITEM, QUERY
from interactrank.batch import CrossFeatureTensors
from interactrank.core.extras import require
from interactrank.modules import MLP, ParallelMaskNet
from interactrank.serving.cross_scores import CrossScores
from interactrank.serving.item_vectors import ItemVectors, Precision
from interactrank.serving.selection import top_k

SIZES, TINY = [1_000, 10_000, 100_000, 300_000], [40, 80, 160]
CATALOGUES = (100_000, 1_000_000)  # items of the groups in which all are candidates
TREES_AT = 10_000  # candidates that trees score
EARLY = 1_000  # candidates that the early-interaction model scores at most
TOLERANCE = 1e-5  # of a dot product of unit vectors in float32
OTHERS = ("early_interaction", "lightgbm_predict", "index_select")  # other models, and no ranking at all
Keep = Callable[[Request], NDArray[np.int64]]


def best(scores: Tensor, rows: Tensor, keep: int) -> NDArray[np.int64]:
    """Rows of the k best."""
    return rows[torch.topk(scores, keep).indices].cpu().numpy()


def matmul_topk(of: Engine, keep: int) -> Keep:
    """The limit: vectors that lie side by side."""
    return lambda request: best(torch.mv(request.compact, request.vector[0, 0]), request.rows, keep)


def index_select(of: Engine, keep: int) -> Keep:
    """The vectors gathered, and nothing else."""
    return lambda r: of.items.index_select(0, r.rows)[:keep, 0].long().numpy()


def gather_matmul_topk(of: Engine, keep: int) -> Keep:
    """The vectors gathered first."""
    return lambda r: best(torch.mv(of.items.index_select(0, r.rows), r.vector[0, 0]), r.rows, keep)


def two_tower(of: Engine, keep: int) -> Keep:
    """A plain two-tower as one would write it."""
    return lambda r: best((r.vector[0] * of.items[r.rows]).sum(-1), r.rows, keep)


def pre_ranker(
    of: Engine, keep: int, *, history: bool, precision: Precision = "float32", catalogue: bool = False
) -> Keep:
    """The pre-ranker's own parts: products of mapped vectors, sparse corrections, selection."""
    head = score_head_of(history=history)
    vectors, scores = ItemVectors.of(of.items.numpy(), precision), CrossScores(head, of.features)
    weight, one = float(head.project.dot_weight().detach()), torch.ones(1)

    def run(request: Request) -> NDArray[np.int64]:
        rows = request.candidates.values
        dots = vectors.dots(request.vector[0, 0] * weight, None if catalogue else request.rows)
        if history:
            scores.add_to(dots, request.keys, None if catalogue else rows, one)
        best = top_k(dots, keep).numpy()
        return best if catalogue else rows[best]

    return run


def eager_score(of: Engine, keep: int, *, history: bool) -> Keep:
    """The library's score as training computes it: cross features laid out for every candidate."""
    head = score_head_of(history=history).to(of.device)
    nothing = CrossFeatureTensors.zeros(requests=1, candidates=0)

    def run(request: Request) -> NDArray[np.int64]:
        cross = nothing
        if history:
            cross = CrossFeatureTensors(
                *map(torch.from_numpy, of.features.look_up(request.keys, request.candidates))
            )
        pairs = request.zeros, request.rows
        scores = head(request.vector, of.items, *pairs, cross.to(of.device))
        return best(scores[:, 0], request.rows, keep)

    return run


def faiss_flat(of: Engine, keep: int, *, requests: list[Request], threads: int) -> Keep:
    """FAISS's exact index over the candidates' vectors."""
    faiss = require("faiss", "bench")
    faiss.omp_set_num_threads(threads)
    indexes = {}
    for request in requests:
        indexes[id(request)] = faiss.IndexFlatIP(DIM)
        indexes[id(request)].add(request.compact.numpy())

    def run(request: Request) -> NDArray[np.int64]:
        _, found = indexes[id(request)].search(request.vector[0].numpy(), keep)
        return request.candidates.values[found[0]]

    return run


def usearch_exact(of: Engine, keep: int, *, threads: int) -> Keep:
    """usearch's exact search over the candidates' vectors."""
    index = require("usearch.index", "bench")

    def run(request: Request) -> NDArray[np.int64]:
        vectors, query = request.compact.numpy(), request.vector[0, 0].numpy()
        found = index.search(vectors, query, keep, index.MetricKind.IP, exact=True, threads=threads)
        return request.candidates.values[found.keys.astype(np.int64)]

    return run


class EarlyInteraction(nn.Module):
    """A MaskNet over the features of query and item together: a score for every candidate."""

    def __init__(self, width: int, block: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.crossing = ParallelMaskNet(in_dim=width, blocks=BLOCKS, block_dim=block)
        self.mlp = MLP(in_dim=self.crossing.out_dim, hidden_dims=HIDDEN, out_dim=1)

    def forward(self, query: Tensor, item: Tensor) -> Tensor:
        """[1, *] and [C, *] features -> [C]."""
        x = torch.cat([query.expand(len(item), -1), item], 1)
        return self.mlp(self.crossing(self.norm(x))).squeeze(-1)


def early_interaction(of: Engine, keep: int, *, candidates: int, block: int) -> Keep:
    """Features that lie ready, through the network."""
    net = EarlyInteraction(QUERY + ITEM, block).to(of.device).eval()
    query, item = torch.randn(1, QUERY, device=of.device), torch.randn(candidates, ITEM, device=of.device)
    return lambda request: best(net(query, item), request.rows, keep)


def check(of: Engine, request: Request, keep: int, contestants: dict[str, Keep]) -> None:
    """All but :data:`OTHERS` keep the best candidates.

    Raises:
        RuntimeError: one does not; names it.
    """
    dots = request.compact.double().cpu().numpy() @ request.vector.double().cpu().numpy().ravel()
    for name, run in contestants.items():
        if name in OTHERS:
            continue
        history = name.endswith("_history")
        scores = of.history_scores(request) if history else dots
        # A sum of logarithms of 1e-6 has a larger error.
        problem = wrong(run(request), request, scores, keep, TOLERANCE * (DOT_WEIGHT if history else 1))
        if problem:
            raise RuntimeError(f"{name} at {len(request.rows)} candidates: {problem}")


def wrong(
    found: NDArray[np.int64], request: Request, scores: NDArray[np.float64], keep: int, tolerance: float
) -> str | None:
    """What is wrong with the rows kept; scores within the tolerance of the last one may take its place."""
    rows = request.candidates.values
    if len(found) != keep or len(np.unique(found)) != keep or not np.isin(found, rows).all():
        return f"{len(np.unique(found))} of {len(found)} rows are distinct candidates; {keep} are needed"
    kept, last = np.isin(rows, found), np.sort(scores)[-keep]
    worst, missed = scores[kept].min(), scores[~kept].max(initial=-np.inf)
    if worst < last - tolerance or missed > last + tolerance:
        return f"kept a score of {worst}, left one of {missed}; the last of the best {keep} has {last}"
    return None


def makers(options: argparse.Namespace, requests: list[Request], size: int) -> dict[str, Any]:
    """name -> what makes a contestant from the engine and k."""
    found: dict[str, Any] = {
        "matmul_topk": matmul_topk,
        "index_select": index_select,
        "gather_matmul_topk": gather_matmul_topk,
        "two_tower": two_tower,
        "eager_dot": partial(eager_score, history=False),
        "eager_history": partial(eager_score, history=True),
    }
    if options.device == "cpu":
        found["pre_ranker_dot"] = partial(pre_ranker, history=False)
        found["pre_ranker_history"] = partial(pre_ranker, history=True)
        found["faiss_flat"] = partial(faiss_flat, requests=requests, threads=options.threads)
        found["usearch_exact"] = partial(usearch_exact, threads=options.threads)
        if size == TREES_AT or options.smoke:
            found["lightgbm_predict"] = partial(lightgbm_predict, size=size, threads=options.threads)
    if size <= EARLY:
        block = 32 if options.smoke else BLOCK
        found["early_interaction"] = partial(early_interaction, candidates=size, block=block)
    return found


def group(options: argparse.Namespace, of: Engine, size: int) -> Group:
    """All contestants on requests of one size, after a check."""
    keep = min(options.keep, size // 2)
    requests = of.requests(size)
    with torch.inference_mode():
        runs = {name: make(of, keep) for name, make in makers(options, requests, size).items()}
        check(of, requests[0], keep, runs)

    contestants = [Contestant(name, partial(_steps, run, requests), size) for name, run in runs.items()]
    settings = {"candidates": size, "kept": keep, "items": of.num_items, "dim": DIM}
    return Group(f"candidates_{size}", contestants, "candidates", settings)


def catalogue_group(options: argparse.Namespace, size: int) -> Group:
    """Every item is a candidate."""
    of = engine(size, options.device)
    keep, requests = min(options.keep, size // 2), of.requests(size)
    whole = {
        "matmul_topk": matmul_topk(of, keep),
        "pre_ranker_dot": pre_ranker(of, keep, history=False, catalogue=True),
        "pre_ranker_history": pre_ranker(of, keep, history=True, catalogue=True),
    }
    with torch.inference_mode():
        check(of, requests[0], keep, whole)
    whole["pre_ranker_history_int8"] = pre_ranker(of, keep, history=True, precision="int8", catalogue=True)
    contestants = [Contestant(name, partial(_steps, run, requests), size) for name, run in whole.items()]
    settings = {"candidates": size, "kept": keep, "items": size, "dim": DIM}
    return Group(f"catalogue_{size}", contestants, "candidates", settings)


def _steps(run: Keep, requests: list[Request]) -> Step:
    endless = itertools.cycle(requests)

    def step() -> None:
        with torch.inference_mode():
            run(next(endless))

    return step


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each number of candidates and for each whole catalogue, and whole requests."""
    of = engine(2_000 if options.smoke else options.items, options.device)
    for size in TINY if options.smoke else options.candidates:
        yield group(options, of, size)
    if options.device == "cpu":
        for size in TINY[-1:] if options.smoke else options.catalogues:
            yield catalogue_group(options, size)
        yield request_group(options)


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """Memory bandwidth reached, where the time goes, FLOPs next to early interaction."""
    of = engine(2_000 if options.smoke else options.items, options.device)
    gathered = [r for r in result["results"] if r["group"].startswith("candidates_")]
    size = max(row["candidates"] for row in gathered if row["candidates"] <= 100_000)
    block = 32 if options.smoke else BLOCK
    whole = engine(TINY[-1] if options.smoke else CATALOGUES[0], options.device)
    exact, int8 = (
        pre_ranker(whole, TINY[0] if options.smoke else 1_000, history=True, precision=p, catalogue=True)
        for p in ("float32", "int8")
    )
    return [
        limits_table(result, overlap(exact, int8, whole.requests(whole.num_items)[:4])),
        bandwidth_table(options, result),
        parts_table(options, of, size),
        flops_table(1_000 if options.smoke else 100_000, block, EarlyInteraction),
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--items", type=int, default=2_000_000, help="of the catalogue")
    parser.add_argument("--candidates", type=int, nargs="+", default=SIZES)
    parser.add_argument("--catalogues", type=int, nargs="*", default=CATALOGUES, help="whole ones")
    parser.add_argument("--keep", type=int, default=1_000, help="best candidates, at most half of them")


SCRIPT = Script(
    name="scoring",
    question="How long does one request take to score its candidates and keep the best?",
    groups=groups,
    arguments=arguments,
    tables=tables,
    memory=False,
    x_axis="candidates",
)

if __name__ == "__main__":
    main(SCRIPT)
