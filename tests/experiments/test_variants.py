"""The models of an ablation, of the shipped configs and of small ones."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from interactrank.core.settings import ConfigError, parse_config
from interactrank.cross_features import CrossColumns
from interactrank.experiments.variants import FULL, ablation_grid, find, select
from interactrank.runs.config import RunConfig, load_config
from tests.trained import config

ROOT = Path(__file__).parents[2]
SHIPPED = {
    "demo": ROOT / "interactrank/configs/demo.yaml",
    "bestbuy": ROOT / "examples/configs/bestbuy.yaml",
    "lastfm": ROOT / "examples/configs/lastfm.yaml",
}
NAMES = {
    "demo": [
        *("bm25", "plain_two_tower", "plus_sequence", "plus_mask_net", "plus_sampled_softmax", "plus_log_q"),
        *("plus_iqp_query", "plus_iqp_segment", "plus_iqp_back_off", "full"),
        *(
            "full_without_sequence",
            "full_without_mask_net",
            "full_without_sampled_softmax",
            "full_without_log_q",
        ),
        "full_without_iqp",
    ],
    "bestbuy": [
        *("bm25", "counts", "plain_two_tower", "plus_iqp_query", "plus_iqp_back_off", "full"),
        *("full_without_iqp", "full_with_mask_net", "full_with_sampled_softmax", "full_with_log_q"),
    ],
    "lastfm": [
        *("bm25", "counts", "plain_two_tower", "plus_sequence", "plus_sampled_softmax", "plus_log_q"),
        *("plus_iqp_query", "full", "full_without_sequence", "full_without_sampled_softmax"),
        *("full_without_log_q", "full_with_mask_net", "full_with_lexical"),
    ],
}


def as_variants(base: RunConfig) -> RunConfig:
    """The config with its grid as variants."""
    variants = {r.name: r.changes for r in ablation_grid(base) if r.trained}
    values = base.model_dump(mode="json", by_alias=True) | {"variants": variants, "models": [*variants]}
    return parse_config(RunConfig, values)


@pytest.mark.parametrize("log", NAMES)
def test_of_the_shipped_configs(log):
    base = load_config(SHIPPED[log])
    variants = ablation_grid(base)
    assert [variant.name for variant in variants] == NAMES[log]
    assert len({variant.label for variant in variants}) == len(variants)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", variant.name) for variant in variants)
    grid = as_variants(base)
    models = {r.name: grid.for_model(r.name).model for r in variants if r.trained}
    assert models[FULL] == base.model  # exactly the config
    assert len({m.model_dump_json() for m in models.values()}) == len(models)  # none twice
    plain = models["plain_two_tower"]
    sequence = base.search.sequence is not None and plain.use_sequence
    assert not any([sequence, plain.use_cross_features, plain.loss.sampled_softmax_weight])
    assert (plain.request_tower.crossing, plain.item_tower.crossing) == ("none", "none")
    assert plain.initial_dot_weight == base.model.two_tower().initial_dot_weight


def test_each_rung_of_the_ladder_adds_its_part_alone():
    base = load_config(SHIPPED["demo"])
    grid = as_variants(base)
    ladder = [r for r in ablation_grid(base) if r.group == "incremental"]
    for variant, before in zip(ladder[1:], ladder, strict=False):
        assert variant.compared_with == before.name
    rates = CrossColumns.of(base.search).rates
    reads = [[f for f in rates if grid.for_model(r.name).model.reads(f.settings)] for r in ladder]
    assert [len(names) for names in reads] == [0, 0, 0, 0, 0, 3, 5, 9, 9]
    dumps = [grid.for_model(r.name).model.model_dump() for r in ladder]
    changed = [{k for k in old if old[k] != new[k]} for old, new in pairwise(dumps)]
    assert changed == [
        {"use_sequence"}, {"request_tower", "item_tower"}, {"loss"}, {"loss"},
        {"use_cross_features", "exclude_features"}, *[{"exclude_features"}] * 3,
    ]  # fmt: skip


def test_without_sequence_is_as_the_variant_that_ships_with_lastfm():
    base = load_config(SHIPPED["lastfm"])
    by_hand = base.for_model("without_sequence").model
    found = as_variants(base).for_model("full_without_sequence").model
    features = base.search.cross_features
    assert [found.reads(f) for f in features] == [by_hand.reads(f) for f in features]
    same = {"exclude_features": []}
    assert found.model_copy(update=same) == by_hand.model_copy(update=same)


def test_equal_models_are_there_once_under_both_names():
    variants = {r.name: r for r in ablation_grid(load_config(SHIPPED["lastfm"]))}
    assert variants["plus_log_q"].equivalent_to == ("full - IQP",)
    variants = {r.name: r for r in ablation_grid(load_config(SHIPPED["demo"]))}
    assert variants["plus_iqp_back_off"].equivalent_to == ("full - lexical match",)


def test_what_each_is_compared_with():
    against = {r.name: r.compared_with for r in ablation_grid(load_config(SHIPPED["bestbuy"]))}
    assert against["bm25"] is None
    assert against["counts"] == "bm25"
    assert against["plain_two_tower"] == "bm25"  # a two-tower adds nothing to counts
    assert against["plus_iqp_query"] == "plain_two_tower"
    assert against["full_with_mask_net"] == against["full_without_iqp"] == "full"


def test_a_config_that_is_the_plain_two_tower_itself():
    off = ["model.use_sequence=false", "model.use_cross_features=false"]
    off += ["model.request_tower.crossing=none", "model.item_tower.crossing=none"]
    variants = ablation_grid(config(*off, "model.loss.sampled_softmax_weight=0"))
    assert [r.name for r in variants if r.trained] == [
        *("full", "full_with_sequence", "full_with_mask_net", "full_with_sampled_softmax", "full_with_log_q"),
        *("full_with_lexical", "full_with_iqp"),
    ]
    assert next(r for r in variants if r.trained).label == "two-tower = full"


def test_the_order_of_the_variants_of_a_config_and_their_names_do_not_matter():
    own = config("variants={full: {model: {dim: 4}}}", "models=[interactrank, full]")
    assert ablation_grid(own) == ablation_grid(config())


def test_a_model_is_found_by_what_it_is():
    bm25 = [f.name for f in config().search.cross_features if f.kind == "bm25"]
    variants = ablation_grid(config())
    assert find(variants, {}).name == FULL
    assert find(variants, {"model": {"exclude_features": bm25}}).equivalent_to == ("full - lexical match",)
    assert find(variants, {"model": {"dim": 3}}) is None


def test_some_models_are_kept():
    variants = ablation_grid(load_config(SHIPPED["demo"]))
    assert select(variants, []) == variants
    kept = select(variants, ["full", "bm25", "plus_sequence", "full_without_iqp"])
    assert [(r.name, r.compared_with) for r in kept] == [
        ("bm25", None),
        ("plus_sequence", "bm25"),  # the two-tower between them is left out
        ("full", "plus_sequence"),
        ("full_without_iqp", "full"),
    ]
    alone = select(variants, ["plus_sequence", "full_without_iqp"])
    assert [r.compared_with for r in alone] == [None, None]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["full", "plus_sequense"],
            "--only: no model 'plus_sequense' in the grid; did you mean 'plus_sequence'",
        ),
        (["full"], "nothing to ablate: --only keeps full alone; name two or more of bm25, counts"),
    ],
)
def test_what_cannot_be_kept(names, message):
    with pytest.raises(ConfigError, match=message):
        select(ablation_grid(config()), names)
