"""What a config has, could have, and the settings without or with it."""

import pytest

from interactrank.experiments.parts import PARTS, Parts
from tests.trained import config

EVERY = PARTS[:-1]  # the small run has no cross feature of its own
IN_BATCH_ALONE = ["model.loss={pointwise_weight: 0, listwise_weight: 0, sampled_softmax_weight: 1}"]


NAMES = [f.name for f in config().search.cross_features]
BM25 = [n for n in NAMES if n.startswith("bm25")]


def model(parts: Parts, *has: str) -> dict:
    return parts.changes(has)["model"]


def test_a_config_with_everything():
    """The small run has every kind of feature; only its two towers and loss say what is used."""
    parts = Parts(config())
    assert parts.used == EVERY
    assert parts.offered == ()
    assert parts.changes(EVERY) == {}


def test_without_each_part():
    parts = Parts(config())

    def without(*names: str) -> dict:
        return model(parts, *(p for p in EVERY if p not in names))

    none = {"crossing": "none"}
    assert without("crossing") == {"request_tower": none, "item_tower": none}
    assert without("sampled_softmax") == {"loss": {"sampled_softmax_weight": 0.0}}
    assert without("log_q") == {"loss": {"log_q": False}}
    assert without("sampled_softmax", "log_q") == without("sampled_softmax")  # nothing is left to correct
    assert without("lexical") == {"exclude_features": BM25}
    assert without("iqp_segment") == {"exclude_features": ["query_click_country"]}
    iqp = ("iqp_query", "iqp_segment", "iqp_back_off")
    dot = {"initial_dot_weight": 5.0}  # that of a model without history
    assert without(*iqp) == {"exclude_features": [n for n in NAMES if n not in BM25], **dot}
    assert without(*iqp, "lexical") == {"use_cross_features": False, **dot}


def test_without_the_sequence_nothing_is_compared_with_it():
    assert model(Parts(config()), *EVERY[1:]) == {
        "use_sequence": False,
        "exclude_features": ["item_cosine_sequence", "item_cosine_same_query"],
    }


def test_a_sequence_that_the_model_never_had_takes_nothing_along():
    """Its history features stand: the config uses them without the sequence in the tower."""
    parts = Parts(config("model.use_sequence=false"))
    assert parts.offered == ("sequence",)
    assert parts.changes(parts.used) == {}
    assert model(parts, *parts.used, "sequence") == {"use_sequence": True}


def test_the_dot_weight_of_a_model_without_the_history_that_the_full_one_has():
    """As ModelSettings.two_tower(): small where histories come first, it must not stay small without them."""
    small = Parts(config("model.initial_dot_weight=0.001"))
    assert model(small, "sequence", "crossing", "sampled_softmax", "log_q", "lexical") == {
        "exclude_features": [n for n in NAMES if n not in BM25],
        "initial_dot_weight": 5.0,
    }
    large = Parts(config("model.initial_dot_weight=9"))
    assert "initial_dot_weight" not in model(large, *PARTS[:4])
    never = Parts(config("model.initial_dot_weight=0.001", "model.exclude_features=[iqp, item_cosine]"))
    assert never.changes(never.used) == {}
    assert "initial_dot_weight" not in model(never)


def test_what_a_config_does_not_use_is_offered():
    off = config(
        "model.use_cross_features=false",
        "model.request_tower.crossing=none",
        "model.item_tower.crossing=none",
        "model.loss.sampled_softmax_weight=0",
    )
    parts = Parts(off)
    assert parts.used == ("sequence",)
    assert parts.offered == EVERY[1:]
    both = {"crossing": "mask_net"}
    assert model(parts, "sequence", "crossing") == {"request_tower": both, "item_tower": both}
    assert model(parts, "sequence", "sampled_softmax") == {
        "loss": {"sampled_softmax_weight": 0.01, "log_q": False}
    }
    assert model(parts, "sequence", "sampled_softmax", "log_q") == {"loss": {"sampled_softmax_weight": 0.01}}
    assert model(parts, "sequence", "iqp_query", "iqp_segment", "iqp_back_off") == {
        "use_cross_features": True,
        "exclude_features": BM25,
    }
    assert model(parts, "sequence", "lexical") == {
        "use_cross_features": True,
        "exclude_features": [n for n in NAMES if n not in BM25],
    }


def test_crossing_in_one_tower_only():
    parts = Parts(config("model.item_tower.crossing=none", "model.request_tower.crossing=dcn"))
    assert "crossing" in parts.used
    assert (parts.name("crossing"), parts.label("crossing")) == ("dcn", "DCN")
    assert model(parts, *(p for p in PARTS if p != "crossing")) == {"request_tower": {"crossing": "none"}}


def test_the_only_loss_cannot_be_taken_away():
    parts = Parts(config(*IN_BATCH_ALONE))
    assert "sampled_softmax" not in [*parts.used, *parts.offered]
    assert "log_q" in parts.used
    assert "loss" not in model(parts, "log_q")
    assert model(parts)["loss"] == {"log_q": False}


def test_what_the_schema_lacks_is_neither_used_nor_offered():
    lacking = config("schema.sequence=null", "schema.cross_features=[]", "models=[interactrank]")
    parts = Parts(lacking)
    assert parts.used == ("crossing", "sampled_softmax", "log_q")
    assert parts.offered == ()
    assert "use_cross_features" not in model(parts)


def test_what_is_left_out_by_name_is_not_offered():
    left_out = ["query_click", "query_save", "query_click_1d", "query_only_click", "query_click_rate", *BM25]
    parts = Parts(config(f"model.exclude_features=[{', '.join(left_out)}]"))
    assert {"iqp_query", "lexical"}.isdisjoint([*parts.used, *parts.offered])
    assert parts.changes(parts.used) == {}
    without = model(parts, *(p for p in parts.used if p != "iqp_segment"))
    assert without["exclude_features"] == [n for n in NAMES if n in [*left_out, "query_click_country"]]


@pytest.mark.parametrize(
    ("part", "label"),
    [
        ("iqp_query", "IQP of the query (all time, 1d)"),
        ("iqp_segment", "IQP by segment (country)"),
        ("iqp_back_off", "IQP back-off (words, trigrams, user, item cosine, all)"),
        ("crossing", "MaskNet"),
        ("sampled_softmax", "sampled softmax (weight 0.1)"),
    ],
)
def test_labels_name_what_is_in_a_part(part, label):
    assert Parts(config()).label(part) == label
