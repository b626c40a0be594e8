import pytest

from interactrank.core.errors import UserError
from interactrank.core.registry import Registry, RegistryError


def test_registry__keeps_the_order_and_names_the_nearest():
    registry = Registry[int]("metric")
    registry.add("mrr", 1)
    registry.add("ndcg", 2)
    assert registry.names() == ["mrr", "ndcg"]
    assert registry.values() == [1, 2]
    assert len(registry) == 2
    assert "map" not in registry
    assert registry.get("map") is None
    with pytest.raises(UserError, match=r"^no metric 'ndgc'; did you mean 'ndcg'[?]$"):
        registry["ndgc"]
    with pytest.raises(RegistryError, match=r"^no metric 'x'; there are mrr, ndcg$"):
        registry["x"]


def test_registry__a_taken_or_impossible_name_is_refused():
    registry = Registry[int]("baseline")
    registry.add("bm25", 1)
    with pytest.raises(RegistryError, match="baseline 'bm25' is registered already; choose another name"):
        registry.add("bm25", 2)
    assert registry["bm25"] == 1
    for name in ("", "BM25", "a@3", "a b", "3a"):
        with pytest.raises(RegistryError, match="a name is lower-case letters, digits and underscores"):
            registry.add(name, 1)


def test_registry__what_is_removed_can_be_registered_again():
    registry = Registry[int]("metric")
    registry.add("a", 1)
    registry.remove("a")
    assert registry.add("a", 2) == 2
    with pytest.raises(RegistryError, match="no metric 'b'; there are a"):
        registry.remove("b")
    with pytest.raises(RegistryError, match="there are none"):
        Registry[int]("metric")["a"]
