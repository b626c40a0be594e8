"""The OpenAPI document describes what the service does: random right and wrong bodies hold it to that."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from interactrank.server.app import make_app
from interactrank.server.settings import Limits, ServedModel, ServerSettings
from tests.server.conftest import HERE, settings_of
from tests.serving.exported import Exported

# A time may be in the future and an item sent twice, which a schema cannot say; and 60.0 is an integer to it.
# 503 is the answer at a deadline.
NOT_HELD = [positive_data_acceptance, not_a_server_error]
REQUEST = {"query": "red", "hour": 3, "query_vector": [1.0, 2.0]}


@pytest.fixture(scope="session")
def document(client: TestClient) -> dict[str, Any]:
    return client.get("/openapi.json").json()


def test_every_path_is_described(client: TestClient, document: dict[str, Any]) -> None:
    served = {route.path for route in client.app.routes}  # type: ignore[attr-defined]
    of_the_page = {path for path in served if path == "/" or path.startswith("/page/")}
    assert served - of_the_page == set(document["paths"])


def test_a_limit_of_the_document_is_the_limit(document: dict[str, Any]) -> None:
    k = document["components"]["schemas"]["Rank_main"]["properties"]["k"]
    assert (k["minimum"], k["maximum"]) == (1, 20)


def test_two_models_are_two_declarations(made: Exported) -> None:
    models = {name: ServedModel(export=made.artifact) for name in ("a", "b")}
    app = make_app(ServerSettings(models=models, limits=Limits()))
    with TestClient(app, base_url=HERE) as client:
        document = client.get("/openapi.json").json()
        body = document["paths"]["/rank"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        refs = ["#/components/schemas/Rank_a", "#/components/schemas/Rank_b"]
        assert body == {"anyOf": [{"$ref": ref} for ref in refs]}
        for name in ("a", "b"):
            found = client.post("/rank", json={"request": REQUEST, "model": name, "k": 1}).json()
            assert found["model"] == name
        chosen = {
            client.post("/rank", json={"request": REQUEST | {"user_id": f"u{n}"}, "k": 1}).json()["model"]
            for n in range(20)
        }
        assert chosen == {"a", "b"}


@pytest.fixture(scope="session")
def api(made: Exported, tmp_path_factory: pytest.TempPathFactory) -> Any:
    artifact = tmp_path_factory.mktemp("fuzzed") / "artifact"
    shutil.copytree(made.artifact, artifact)
    app = make_app(settings_of(artifact, events=str(artifact.parent / "log")))
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers={"host": "localhost"})


@pytest.mark.slow
def test_random_bodies_get_an_answer_of_the_document(api: Any) -> None:
    """Never a status of 500, nor one that the document does not name, nor an answer of another form."""
    tried = set()
    for found in api.get_all_operations():
        operation = found.ok()
        tried.add(operation.path)

        @settings(
            max_examples=25,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def run(case: Any) -> None:
            answer = case.call(headers={"host": "localhost"})
            assert answer.status_code != 500, answer.text
            case.validate_response(answer, excluded_checks=NOT_HELD)

        run()
    assert {"/rank", "/explain", "/events", "/items", "/version"} <= tried
