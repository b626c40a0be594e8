"""RunConfig: what sections ask of each other, the file that is saved beside a model, and the shipped ones."""

from pathlib import Path
from typing import Any

import pytest

from interactrank.core.overrides import apply_overrides
from interactrank.core.settings import ConfigError, parse_config
from interactrank.runs.config import RunConfig, load_config
from tests.trained import VALUES

SHIPPED = [*Path("interactrank/configs").glob("*.yaml"), *Path("examples/configs").glob("*.yaml")]


def mistakes(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse_config(RunConfig, apply_overrides(VALUES, overrides))
    return [line.removeprefix("  - ") for line in str(error.value).split("\n")[1:]]


NO_RATES = "schema.cross_features=[{kind: bm25, columns: [title]}]"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["schema.events.impressions=false", NO_RATES, "evaluation.candidates=catalogue"],
            ["loader.negatives is 0, but the log shows engagements only"],
        ),
        (
            ["schema.events.impressions=false", NO_RATES, "loader.negatives=5"],
            ["evaluation.candidates: logged ranks positives among themselves"],
        ),
        (
            ["schema.cross_features=[]"],
            ["models: bm25 needs a cross feature of kind bm25 with analyzer words"],
        ),
        (["models=[bm25, bm25]"], ["models: a model is named more than once"]),
        (["models=[]"], ["models: "]),
        (["models=[interactrang]"], ["models: no model 'interactrang'; did you mean 'interactrank'?"]),
        (["models=[plian]", "variants={plain: {}}"], ["models: no model 'plian'; did you mean 'plain'?"]),
        (
            ["models=[counts]", "schema.cross_features=[]"],
            ["models: counts needs a cross feature of kind iqp with key query"],
        ),
        (
            ["model.exclude_features=[query_clik]"],
            ["model.exclude_features: no cross feature or kind 'query_clik'; did you mean 'query_click'?"],
        ),
        (["variants={bm25: {}}"], ["variants.bm25: the name is taken; choose another"]),
        (
            ["variants={interactrank: {}}"],
            ["variants.interactrank: its settings are the sections of the config; change those"],
        ),
        (
            ["variants={other: {schema: {}}}"],
            ["variants.other.schema: a variant changes loader, model, training alone"],
        ),
        (
            ["training.sharding={itm: {types: [row_wise]}}"],
            ["training.sharding: no table 'itm'; did you mean 'item'?"],
        ),
        (
            ["model.sequence={transformer_layers: 1, transformer_heads: 3}"],
            [
                "model.sequence.transformer_heads: 3 heads cannot share the 4 columns of table 'item'",
                "model.sequence.transformer_heads: 3 heads cannot share the 4 columns of table 'query'",
            ],
        ),
        (["evaluation.head=lik"], ["evaluation.head: no head 'lik'; did you mean 'like'?"]),
        (["lodaer.seed=1"], ["lodaer: unknown key; did you mean 'loader'?"]),
        (["ranks=0"], ["ranks: input should be greater than or equal to 1"]),
    ],
)  # fmt: skip
def test_each_mistake(overrides: list[str], expected: list[str]) -> None:
    found = mistakes(*overrides)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_by_user_needs_users() -> None:
    values = {
        "schema": {
            "events": {
                "query": "q", "item": "i", "time": "t", "impressions": True, "engagements": {"click": "c"},
            },
            "items": {"id": "i"},
            "features": {"item": [{"name": "price", "kind": "number", "column": "price"}]},
            "tables": {},
            "heads": [{"name": "click", "engagements": ["click"]}],
        },
        "models": ["interactrank"],
        "evaluation": {"by_user": True},
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"evaluation\.by_user: needs schema\.events\.user"):
        parse_config(RunConfig, values)


def test_mistakes_between_sections_come_together_once_each_value_is_right() -> None:
    between = ["evaluation.head=x", "schema.sequence.item=y", "models=[bm25, bm25]"]
    found = mistakes(*between)
    assert [line.split(":")[0] for line in found] == ["models", "evaluation.head", "schema"]
    assert [line.split(":")[0] for line in mistakes("loader.batch_requests=0", *between)] == [
        "loader.batch_requests"
    ]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_saved_is_read_back(path: Path, tmp_path: Path) -> None:
    """The shipped configs, with all defaults written out."""
    config = load_config(path)
    saved = tmp_path / "config.yaml"
    saved.write_text(config.dump())
    assert load_config(saved) == config
    assert load_config(saved).dump() == config.dump()


def test_there_are_shipped_configs() -> None:
    assert {"demo", "bestbuy"} <= {path.stem for path in SHIPPED}


def test_overrides_change_the_file(tmp_path: Path) -> None:
    config = load_config(
        "examples/configs/bestbuy.yaml", ["training.epochs=7", "schema.cross_features.0.window=3d"]
    )
    assert config.training.epochs == 7
    assert config.search.cross_features[0].window == "3d"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read '.*run.yaml': No such file or directory"),
        ("schema: [", "'.*run.yaml' is not valid YAML"),
        ("- 1", r"'.*run.yaml': expected settings \(key: value\), found list"),
        ("", "'.*run.yaml' is empty"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_config_is_not_changed_in_place() -> None:
    config: Any = parse_config(RunConfig, VALUES)
    with pytest.raises(ValueError, match="frozen"):
        config.ranks = 3


def test_a_variant_is_the_config_with_its_changes() -> None:
    changes = "variants={wide: {model: {dim: 16, request_tower: {blocks: 3}}, training: {seed: 7}}}"
    config = parse_config(RunConfig, apply_overrides(VALUES, [changes, "models=[wide, counts, bm25]"]))
    wide = config.for_model("wide")
    assert (wide.model.dim, wide.model.request_tower.blocks, wide.training.seed) == (16, 3, 7)
    assert wide.model.request_tower.hidden_dims == config.model.request_tower.hidden_dims
    assert wide.search == config.search
    assert config.trained == ["wide"]
    assert config.for_model("interactrank") == config
    assert config.for_model("two_tower").model == config.model.two_tower()
    with pytest.raises(ConfigError, match="no model 'wid' to train; did you mean 'wide'"):
        config.for_model("wid")


def test_mistakes_within_a_variant_are_found_with_the_others() -> None:
    lines = mistakes("variants={odd: {model: {exclude_features: [nothing], dmi: 3}}}", "models=[odd, bm52]")
    text = "\n".join(lines)
    assert "models: no model 'bm52'; did you mean 'bm25'?" in text
    assert "variants.odd" in text
    assert "model.dmi: unknown key; did you mean 'dim'?" in text


def test_a_variant_of_a_models_name_is_that_model_with_settings_of_its_own() -> None:
    changes = "variants={two_tower: {model: {dim: 16}, training: {seed: 7}}}"
    config = parse_config(RunConfig, apply_overrides(VALUES, [changes]))
    tower = config.for_model("two_tower")
    assert (tower.model.dim, tower.training.seed) == (16, 7)
    assert not tower.model.use_cross_features
    assert config.for_model("interactrank").model == config.model
    assert config.for_model("interactrank").training.seed == 0


def test_with_settings__change_one_model() -> None:
    config = parse_config(RunConfig, VALUES)
    places = {("training", "table_optimizer", "lr"): 0.3, ("model", "request_tower", "dropout"): 0.2}
    tower = config.with_settings("two_tower", places)
    assert tower.for_model("two_tower").training.table_optimizer.lr == 0.3
    assert tower.for_model("two_tower").model.request_tower.dropout == 0.2
    assert tower.for_model("interactrank").training == config.training
    own = config.with_settings("interactrank", places)
    assert own.training.table_optimizer.lr == 0.3
    assert own.variants == {}
    both = tower.with_settings("interactrank", {("training", "table_optimizer", "lr"): 0.5})
    assert both.for_model("two_tower").training.table_optimizer.lr == 0.3
    with pytest.raises(ConfigError, match=r"training\.table_optimizer\.lr: input should be greater than 0"):
        config.with_settings("two_tower", {("training", "table_optimizer", "lr"): 0})
