"""Models of one's own are names for ``models`` and ``--model``."""

from collections.abc import Iterator

import pytest

from interactrank.core.registry import RegistryError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import MODELS, InteractRank, ModelFamily, ModelSettings, build_model, register_model
from tests.models import search
from tests.trained import config


class Own(InteractRank):
    """A class of one's own."""


@pytest.fixture
def own() -> Iterator[ModelFamily]:
    def without_sequence(settings: ModelSettings) -> ModelSettings:
        return settings.model_copy(update={"use_sequence": False})

    yield register_model(ModelFamily(name="own", title="mine", settings=without_sequence, build=Own))
    MODELS.remove("own")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return search.prepared(tmp_path_factory.mktemp("log"))


def test_own_model__has_settings_and_a_class_of_its_own(own: ModelFamily, log: PreparedDataset) -> None:
    run = config("models=[own, bm25]")
    assert run.trained == ["own"]
    settings = run.for_model("own").model
    assert run.model.use_sequence
    assert not settings.use_sequence
    assert type(build_model("own", layout=log.layout, settings=settings)) is Own


def test_build_model__a_variant_is_an_interactrank(log: PreparedDataset) -> None:
    built = build_model("wide", layout=log.layout, settings=ModelSettings(dim=8))
    assert type(built) is InteractRank


def test_two_tower__is_interactrank_without_what_is_not_a_tower() -> None:
    settings = config().for_model("two_tower").model
    assert not any([settings.use_sequence, settings.use_cross_features])
    with pytest.raises(RegistryError, match="model 'two_tower' is registered already"):
        register_model(ModelFamily(name="two_tower", title="again"))
