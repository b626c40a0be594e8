"""The model: how often each tower runs, and that a score depends on its own request and item alone."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.batch import CrossFeatureTensors, SearchBatch
from interactrank.cross_features import CrossColumns, Jagged
from interactrank.data.loading.collate import collate, item_batch, request_batch
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import MODELS, InteractRank, build_model
from tests.data.logs import schema
from tests.models.search import RowCounter, batch, model, requests

NAN = float("nan")
COLUMNS = CrossColumns.of(schema())


def sizes(batch: SearchBatch) -> tuple[int, int, int]:
    return batch.num_requests, batch.num_items, batch.num_candidates


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["forward", "score"])
def test_the_query_tower_runs_once_per_request_and_the_item_tower_once_per_item(log, name, method) -> None:
    b, m = batch(log), model(log, name=name)
    r, i, c = sizes(b)
    assert r < i < c  # 8 requests, at most 12 items, 2 to 5 candidates of each request
    with RowCounter(m.query_tower) as queries, RowCounter(m.item_tower) as items:
        getattr(m, method)(b)
    assert queries == [r]
    assert items == [i]


def test_each_request_item_and_event_is_looked_up_once(log: PreparedDataset) -> None:
    b, m = batch(log), model(log)
    r, i, _ = sizes(b)
    events = b.event_action.shape[0]
    looked: dict[str, list[Any]] = {}
    for name, module in m.tables.named_children():
        module.register_forward_hook(
            lambda _, args, out, name=name: looked.setdefault(name, []).append(args[0])
        )
    m.score(b)
    assert {name: len(calls) for name, calls in looked.items()} == {"items": 1, "shared": 1, "events": 1}
    rows = {
        name: dict(zip(calls[0].keys(), calls[0].length_per_key(), strict=True))
        for name, calls in looked.items()
    }
    # Pooled keys have a bag for each row; the sequence's have one id for each request, item and event.
    assert looked["items"][0].stride() == i
    assert looked["shared"][0].stride() == r + i
    assert rows["events"] == {"item_0": i + events, "query_0": r + events}


@pytest.mark.parametrize("name", MODELS)
def test_training_optimises_what_score_returns(log: PreparedDataset, name: str) -> None:
    b, m = batch(log), model(log, name=name)
    loss, outputs = m(b)
    torch.testing.assert_close(outputs["scores"], m.score(b), rtol=0, atol=0)
    assert torch.equal(outputs["labels"], b.labels)
    parts = {name.removeprefix("loss/"): value for name, value in outputs.items() if name.startswith("loss/")}
    # The weights of the parts in SMALL: 1, 1 and 0.1.
    expected = parts["pointwise"] + parts["listwise"] + 0.1 * parts["sampled_softmax"]
    torch.testing.assert_close(loss, expected)
    assert not any(value.requires_grad for value in outputs.values())


def test_a_score_is_the_projection_of_the_dot_product_and_the_features(log: PreparedDataset) -> None:
    b, m = batch(log), model(log, cross_features={"hidden_dims": []})
    query, item = m.encode_requests(b), m.encode_items(b)
    torch.testing.assert_close(query.norm(dim=-1), torch.ones(query.shape[:2]))
    weight, bias = m.score_head.project.projection()
    assert m.score_head.smoothing is not None
    expected = []
    start = 0
    for r, length in enumerate(b.candidate_lengths.tolist()):
        for c in range(start, start + length):
            dots = query[r] @ item[b.candidate_item[c]]
            priors = m.score_head.priors.expand(1, -1)
            history = m.score_head.smoothing(b.cross.rate[c : c + 1], b.cross.support[r : r + 1], priors)[0]
            unknown = b.cross.support[r] <= 0
            history = torch.where(unknown, m.score_head.project.default[: len(history)], history)
            flags = (unknown.float() @ m.score_head.project.flag_weight[:, : len(history)].t()).expand(2)
            numbers = torch.log(b.cross.number[c] + torch.tensor([0.1, 0.1, 1.0]))  # matches, then a count
            ratios = log_ratios(m, *b.cross.counts[c].chunk(2))
            cross = torch.cat([history, numbers, ratios])
            expected.append(weight[:, -1] * dots + weight[:, :-1] @ cross + flags + bias)
        start += length
    torch.testing.assert_close(m.score(b), torch.stack(expected))


def log_ratios(m: InteractRank, engaged: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """r = (E + k m) / (I + k) of the random log's three rates: by query, by category, and by item in tiles.

    The first backs off to the third (all queries), that to none of the same engagement, nor does the second.
    """
    smoothing = m.score_head.ratio_smoothing
    assert smoothing is not None
    k, base = smoothing.log_strength.exp(), smoothing.base_logit.sigmoid()
    item = (engaged[2] + k[2] * base[2]) / (shown[2] + k[2])
    category = (engaged[1] + k[1] * base[1]) / (shown[1] + k[1])
    query = (engaged[0] + k[0] * item) / (shown[0] + k[0])
    return torch.stack([query, category, item]).log()


def test_encoding_one_side_needs_nothing_of_the_other(log: PreparedDataset) -> None:
    b, m = batch(log), model(log)
    chosen = requests(log, rows=8)
    torch.testing.assert_close(m.encode_requests(request_batch(chosen)), m.encode_requests(b))
    items = item_batch(log.items, b.item_index.numpy(), log.layout)
    torch.testing.assert_close(m.encode_items(items), m.encode_items(b))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MODELS)
def test_a_score_depends_on_its_own_request_and_item_alone(
    log: PreparedDataset, name: str, seed: int
) -> None:
    """Requests in another order, candidates in another order, and one request at a time: the same scores."""
    m = model(log, name=name)
    chosen = requests(log)
    shuffle = torch.Generator().manual_seed(seed)

    def by_pair(rows: Any, permute: bool) -> dict[tuple[int, int], torch.Tensor]:
        some = chosen.take(rows.numpy())
        candidates = some.candidates()
        order = torch.arange(len(candidates.items.values))
        if permute:  # within each request
            keys = torch.rand(len(order), generator=shuffle)
            request = torch.repeat_interleave(torch.from_numpy(candidates.items.lengths))
            order = torch.argsort(request + keys)
        candidates = replace(
            candidates,
            items=Jagged(candidates.items.values[order.numpy()], candidates.items.lengths),
            **{
                n: getattr(candidates, n)[order.numpy()]
                for n in ("labels", "weights", "rate", "number", "counts")
            },
        )
        b = collate(some, candidates, log.items)
        pairs = zip(
            b.request_index[b.candidate_request()].tolist(),
            b.item_index[b.candidate_item].tolist(),
            strict=True,
        )
        return dict(zip(pairs, m.score(b), strict=True))

    every = torch.arange(len(chosen))
    expected = by_pair(every, permute=False)
    shuffled = by_pair(torch.randperm(len(chosen), generator=shuffle), permute=True)
    single: dict[tuple[int, int], torch.Tensor] = {}
    for row in every:
        single |= by_pair(row[None], permute=False)
    for found in (shuffled, single):
        assert found.keys() == expected.keys()
        for pair, score in expected.items():
            torch.testing.assert_close(found[pair], score)


def test_a_score_rises_with_the_dot_product(log: PreparedDataset) -> None:
    m = model(log)
    query = torch.nn.functional.normalize(torch.randn(1, 2, 8), dim=-1)
    angles = torch.linspace(-1, 1, 9)[:, None]
    # Vectors from -q to q of the first head: their dot products with it rise.
    items = angles * query[0, 0]
    x, y = len(COLUMNS.rates), len(COLUMNS.numbers)
    rate, number = torch.rand(1, x).expand(9, -1), torch.rand(1, y).expand(9, -1)
    counts = torch.rand(1, 2 * len(COLUMNS.ratios)).expand(9, -1)
    for support in (torch.zeros(1, x), torch.full((1, x), 7.0)):
        request, item = torch.zeros(9, dtype=torch.long), torch.arange(9)
        scores = m.score_head(query, items, request, item, CrossFeatureTensors(rate, support, number, counts))
        assert (scores[1:, 0] > scores[:-1, 0]).all()


def test_all_items_at_once_get_the_scores_of_the_pairs(log: PreparedDataset) -> None:
    m = model(log)
    r, n, x, y = 3, 5, len(COLUMNS.rates), len(COLUMNS.numbers)
    query, items = torch.randn(r, 2, 8), torch.randn(n, 8)
    rate, number = torch.rand(r, n, x), torch.rand(r, n, y)
    counts = torch.rand(r, n, 2 * len(COLUMNS.ratios))
    support = torch.tensor([[0.0] * x, [1.0] * x, ([0.0, 5.0] * x)[:x]])
    request, item = torch.arange(r).repeat_interleave(n), torch.arange(n).repeat(r)
    flat = CrossFeatureTensors(rate.flatten(0, 1), support, number.flatten(0, 1), counts.flatten(0, 1))
    pairs = m.score_head(query, items, request, item, flat)
    whole = m.score_head.catalogue(query, items, CrossFeatureTensors(rate, support, number, counts))
    torch.testing.assert_close(whole.flatten(0, 1), pairs)


def test_the_two_tower_reads_neither_sequence_nor_cross_features(log: PreparedDataset) -> None:
    torch.manual_seed(0)
    settings = MODELS["two_tower"].settings(model(log).settings)
    m = build_model("two_tower", layout=log.layout, settings=settings).eval()
    b = batch(log)
    planted = replace(
        b,
        event_age=torch.full_like(b.event_age, NAN),
        cross=CrossFeatureTensors(
            *(
                torch.full_like(t, NAN)
                for t in (b.cross.rate, b.cross.support, b.cross.number, b.cross.counts)
            )
        ),
    )
    assert torch.equal(m.score(planted), m.score(b))
    assert torch.equal(m(planted)[0], m(b)[0])
    assert not m.score_head.reads
    assert m.sequence is None


def test_a_feature_that_is_left_out_is_not_read(log: PreparedDataset) -> None:
    names = COLUMNS.rate_names
    out = [names[0], names[-1], COLUMNS.number_names[0], COLUMNS.ratio_names[1]]
    m, b = model(log, exclude_features=out), batch(log)
    rate, support, number = b.cross.rate.clone(), b.cross.support.clone(), b.cross.number.clone()
    for column in (0, len(names) - 1):
        rate[:, column] = NAN
        support[:, column] = NAN
    number[:, 0] = NAN
    counts = b.cross.counts.clone()
    counts[:, [1, 1 + len(COLUMNS.ratios)]] = NAN
    planted = replace(b, cross=CrossFeatureTensors(rate, support, number, counts))
    assert torch.equal(m.score(planted), m.score(b))
    assert (
        m.score_head.project.features == len(names) - 2 + len(COLUMNS.numbers) - 1 + len(COLUMNS.ratios) - 1
    )
    other = b.cross.rate.clone()
    other[:, names.index("all_click")] += 0.1
    assert not torch.allclose(m.score(replace(b, cross=replace(b.cross, rate=other))), m.score(b))


def test_a_kind_that_is_left_out_is_not_read(log: PreparedDataset) -> None:
    assert not {"bm25", "bm25_trigrams"} & set(model(log, exclude_features=["bm25"]).score_head.reads)
    m = model(log, exclude_features=["iqp", "bm25"])
    assert m.score_head.reads == ["item_cosine_sequence", "item_cosine_same_query"]
    assert not m.score_head.reads_numbers
    assert not m.score_head.reads_ratios


def test_what_the_two_tower_leaves_out_matters_to_interactrank(log: PreparedDataset) -> None:
    b, m = batch(log), model(log)
    before = m.score(b)
    for changed in (
        replace(b, event_age=b.event_age + 1000),
        replace(b, event_action=1 - b.event_action),
        replace(b, cross=replace(b.cross, rate=(b.cross.rate + 0.1).clamp(max=1))),
        replace(b, cross=replace(b.cross, number=b.cross.number + 0.1)),
    ):
        assert not torch.allclose(m.score(changed), before)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": {"pointwise": "bce"}},
        {"loss": {"pointwise_weight": 0, "sampled_softmax_weight": 1}},  # the projection is not in the loss
        {"use_sequence": False, "use_cross_features": False},
        {"exclude_features": ["bm25"], "cross_features": {"transforms": ["rate", "log_count"]}},
        {"shared_projection": False},
        {"sequence": {"attention": False}},
        {"sequence": {"pooling": False, "transformer_layers": 1}},
        {"request_tower": {"crossing": "dcn"}, "item_tower": {"crossing": "none", "hidden_dims": []}},
    ],
)
def test_every_weight_learns(log: PreparedDataset, changes: dict[str, Any]) -> None:
    """Replicated weights without a gradient would stop distributed training."""
    m = model(log, **changes)
    m.train()
    loss, _ = m(batch(log))
    loss.backward()
    without = [name for name, p in m.named_parameters() if p.numel() and p.grad is None]
    assert not [name for name in without if not name.startswith("tables.")]
    assert torch.isfinite(loss)


@pytest.mark.parametrize("kept", [[], ["price"]])
def test_sides_of_which_nothing_is_known(log: PreparedDataset, kept: list[str]) -> None:
    """No feature at all, or one that is the same everywhere: every row gets the same unit vector."""
    schema = log.schema.model_copy(
        update={
            "sequence": None,
            "tables": {},
            "features": log.schema.features.model_copy(
                update={"request": [], "item": [f for f in log.schema.features.item if f.name in kept]}
            ),
        }
    )
    constant = {"minimum": 3.0, "maximum": 3.0, "mean": 3.0, "std": 0.0}
    layout = type(log.layout)(schema, {}, log.layout.num_items, {"price": constant})
    m = InteractRank(layout=layout, settings=model(log).settings).eval()
    b = batch(log)
    empty = replace(
        b, request_ids=None, item_ids=None, shared_ids=None, event_ids=None,
        request_dense=b.request_dense[:, :0], item_dense=torch.full((b.num_items, len(kept)), 3.0),
    )  # fmt: skip
    query = m.encode_requests(empty)
    assert query.shape == (b.num_requests, 2, 8)
    torch.testing.assert_close(query, query[:1].expand_as(query))
    torch.testing.assert_close(m.encode_items(empty).norm(dim=-1), torch.ones(b.num_items))


def test_missing_numbers_and_vectors_give_finite_scores(log: PreparedDataset) -> None:
    b, m = batch(log), model(log)
    blank = replace(
        b, request_dense=torch.full_like(b.request_dense, NAN), item_dense=torch.full_like(b.item_dense, NAN)
    )
    assert torch.isfinite(m.score(blank)).all()


def test_requests_without_a_history_are_scored(log: PreparedDataset) -> None:
    b, m = batch(log), model(log)
    assert b.event_ids is not None
    keys, none = b.event_ids.keys(), torch.zeros(b.num_requests, dtype=torch.long)
    values, lengths = [], []
    for key in keys:
        jagged = b.event_ids[key]
        rows = jagged.lengths().numel() - b.num_requests
        ids = int(jagged.lengths()[:rows].sum())
        values.append(jagged.values()[:ids])
        lengths.append(torch.cat([jagged.lengths()[:rows], none]))
    bare = replace(
        b,
        event_ids=KeyedJaggedTensor(keys=keys, values=torch.cat(values), lengths=torch.cat(lengths)),
        event_lengths=none,
        event_action=b.event_action[:0],
        event_age=b.event_age[:0],
    )
    assert torch.isfinite(m.score(bare)).all()


def test_a_history_longer_than_100_events_fits_the_transformer(log: PreparedDataset) -> None:
    schema = log.schema.model_copy(
        update={"sequence": log.schema.sequence.model_copy(update={"length": 250})}
    )
    layout = type(log.layout)(schema, log.layout.table_rows, log.layout.num_items, log.layout.number_stats)
    settings = model(log, sequence={"transformer_layers": 1}).settings
    m = InteractRank(layout=layout, settings=settings)
    assert m.sequence is not None
    assert isinstance(m.sequence.embedder.encoder, nn.Module)
    assert m.sequence.embedder.encoder.max_len == 250


def test_attention_without_a_feature_to_ask_with(log: PreparedDataset) -> None:
    features = log.schema.features.model_copy(update={"request": log.schema.features.request[2:]})
    sequence = log.schema.sequence.model_copy(update={"query": None})
    schema = log.schema.model_copy(update={"features": features, "sequence": sequence})
    layout = type(log.layout)(schema, log.layout.table_rows, log.layout.num_items, log.layout.number_stats)
    m = InteractRank(layout=layout, settings=model(log).settings)
    assert m.sequence is not None
    assert m.sequence.embedder.attention is None
    with pytest.raises(ValueError, match="without pooling and without attention"):
        InteractRank(layout=layout, settings=model(log, sequence={"pooling": False}).settings)


def grads(m: InteractRank, b: SearchBatch) -> dict[str, float]:
    """Sum of the absolute gradients of the towers (with tables and sequence) and of the projection."""
    m.zero_grad()
    m(b)[0].backward()
    sizes: dict[str, float] = {"towers": 0.0, "projection": 0.0}
    for name, p in m.named_parameters():
        if p.grad is not None and "temperature" not in name:
            part = "projection" if name.startswith("score_head") else "towers"
            sizes[part] += p.grad.abs().sum().item()
    return sizes


@pytest.mark.parametrize("name", ["interactrank", "late_interaction"])
def test_a_request_fits_either_the_towers_or_the_projection(log: PreparedDataset, name: str) -> None:
    m, b = model(log, name=name).train(), batch(log)
    everyone = torch.ones(b.num_requests, dtype=torch.bool)
    joint = grads(m, b)
    assert min(joint.values()) > 0
    late = grads(m, replace(b, fits_projection=everyone))
    assert late["towers"] == 0 < late["projection"]
    early = grads(m, replace(b, fits_projection=~everyone))
    assert early["projection"] == 0 < early["towers"]


def test_each_gradient_of_fitting_apart_comes_from_its_own_scores(log: PreparedDataset) -> None:
    """Late requests: the projection, with the dot product. Early ones: the towers, and the rest without it.

    A request is late if its number is even; g is what the loss would send back to each score.
    """
    m, b = model(log).eval(), batch(log)
    head, request = m.score_head, b.candidate_request()
    apart = torch.arange(b.num_requests) % 2 == 0
    late = apart[request].unsqueeze(-1)
    g = torch.randn(b.num_candidates, len(log.schema.heads), generator=torch.Generator().manual_seed(0))
    query, item = m.encode_requests(b).detach(), m.encode_items(b).detach()

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        m.zero_grad()
        loss.backward()
        return {n: p.grad.clone() for n, p in head.named_parameters() if p.grad is not None}

    def scores(q: torch.Tensor, fits: torch.Tensor | None = None) -> torch.Tensor:
        return head(q, item, request, b.candidate_item, b.cross, fits)

    found = gradients((scores(query, apart) * g).sum())
    obvious = (scores(query) * g * late).sum() + (scores(torch.zeros_like(query)) * g * ~late).sum()
    for name, expected in gradients(obvious).items():
        torch.testing.assert_close(found[name], expected, msg=name)

    learned, plain = (query.clone().requires_grad_() for _ in range(2))
    (scores(learned, apart) * g).sum().backward()
    (scores(plain) * g * ~late).sum().backward()
    torch.testing.assert_close(learned.grad, plain.grad)


@pytest.mark.parametrize("name", ["interactrank", "early_interaction", "late_interaction"])
def test_fitting_apart_changes_gradients_and_not_the_loss(log: PreparedDataset, name: str) -> None:
    loss = {"listwise_weight": 1.0, "sampled_softmax_weight": 0.0}
    m, b = model(log, name=name, loss=loss), batch(log)
    some = torch.arange(b.num_requests) % 2 == 0
    torch.testing.assert_close(m(replace(b, fits_projection=some))[0], m(b)[0])


def test_the_positives_of_the_projections_requests_do_not_teach_the_towers(log: PreparedDataset) -> None:
    """The sampled softmax is averaged over the other requests' positives alone."""
    m, b = model(log), batch(log)
    first = torch.arange(b.num_requests) == 0
    others = b.labels * ~first[b.candidate_request()].unsqueeze(-1)
    apart = m(replace(b, fits_projection=first))[1]["loss/sampled_softmax"]
    torch.testing.assert_close(apart, m(replace(b, labels=others))[1]["loss/sampled_softmax"])


def test_a_two_tower_has_no_projection_to_fit_apart(log: PreparedDataset) -> None:
    m = model(log, use_cross_features=False, use_sequence=False)
    b = batch(log)
    everyone = torch.ones(b.num_requests, dtype=torch.bool)
    assert grads(m, replace(b, fits_projection=everyone)) == grads(m, b)


def test_a_position_matters_while_training_alone(log: PreparedDataset) -> None:
    m = model(log, position_biases=3).train()
    assert m.position_bias is not None
    b = replace(batch(log), position=torch.ones(batch(log).num_candidates, dtype=torch.long))
    lower = replace(b, position=torch.full_like(b.candidate_item, 2))
    with torch.no_grad():
        m.position_bias.numbers.copy_(torch.tensor([0.5, -0.25, 0.0]))
    bias = -0.75
    torch.testing.assert_close(m(lower)[1]["scores"], m(b)[1]["scores"] + bias)
    m.eval()
    assert torch.equal(m.score(lower), m.score(b))
    assert model(log).position_bias is None
