"""The OpenAPI document: valid, complete, and its examples work as they stand."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.openapi.models import OpenAPI

from service.contracts.hints import HintsParameters, HintsResponse
from service.problems import ProblemDetail
from tests.integration.support import PROBLEM, send

METHODS = {"get", "post", "put", "delete"}


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    """Return what the service says of itself."""
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _walk(inner)


def test_the_page_of_the_document_needs_no_other_site(client: httpx.Client) -> None:
    """What `/docs` loads comes from the service itself: behind a firewall the page would stay white."""
    page = client.get("/docs").text
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert len(loaded) >= 3
    assert [client.get(path).status_code for path in loaded] == [200] * len(loaded)
    assert "://" not in page


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """It has the shape of OpenAPI 3.1, and every reference leads somewhere."""
    OpenAPI.model_validate(document)
    references = {node["$ref"] for node in _walk(document) if isinstance(node.get("$ref"), str)}
    assert references
    schemas = document["components"]["schemas"]
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= set(schemas)
    mapped = {target for node in _walk(document) for target in (node.get("mapping") or {}).values()}
    assert {target.removeprefix("#/components/schemas/") for target in mapped} <= set(schemas)


def test_every_route_is_told(document: dict[str, Any]) -> None:
    """With a summary, and errors as problems."""
    operations = {(m, p): o for p, path in document["paths"].items() for m, o in path.items() if m in METHODS}
    assert set(operations) >= {
        ("get", "/v1/hints"), ("post", "/v1/hints"), ("post", "/v1/events"), ("put", "/v1/shoppers/{user_id}/profile"),
        ("delete", "/v1/shoppers/{user_id}"), ("get", "/healthz"), ("get", "/readyz"), ("get", "/metrics"),
    }  # fmt: skip
    for (_, path), operation in operations.items():
        assert operation["summary"]
        if path.startswith("/v1/"):
            problems = [r for status, r in operation["responses"].items() if status.startswith(("4", "5"))]
            assert problems
            assert all(PROBLEM in response["content"] for response in problems), path
            for status, response in operation["responses"].items():
                assert {"X-Request-Id", "Server-Timing"} <= set(response["headers"])
                assert ("Retry-After" in response["headers"]) == (status == "503")


def test_every_problem_is_shown(client: httpx.Client, document: dict[str, Any]) -> None:
    """An example of each status looks as the service's own do."""
    wrong = client.get("/v1/hints", params={"k": 0})
    shown = document["paths"]["/v1/hints"]["get"]["responses"]["422"]["content"][PROBLEM]["example"]
    assert shown == {**wrong.json(), "request_id": shown["request_id"]}
    refused = client.get("/v1/hints", params={"explain": "true"})
    shown = document["paths"]["/v1/hints"]["get"]["responses"]["403"]["content"][PROBLEM]["example"]
    assert shown == {**refused.json(), "request_id": shown["request_id"]}
    for node in _walk(document["paths"]):
        for status, response in node.get("responses", {}).items():
            if PROBLEM in response.get("content", {}):
                example = response["content"][PROBLEM]["example"]
                assert str(ProblemDetail.model_validate(example).status) == status


def test_who_may_have_it_explained(document: dict[str, Any]) -> None:
    """The token is told of, and asked of nobody else."""
    assert document["components"]["securitySchemes"]["explain"]["scheme"] == "bearer"
    told = {(p, m): o["security"] for p, path in document["paths"].items() for m, o in path.items() if "security" in o}
    assert told == {("/v1/hints", "get"): [{}, {"explain": []}]}


def test_the_examples_of_parameters_work(client: httpx.Client, document: dict[str, Any]) -> None:
    """Each alone, and all together; the answer has the headers that are told."""
    operation = document["paths"]["/v1/hints"]["get"]
    examples = {one["name"]: one["example"] for one in operation["parameters"]}
    assert set(examples) == set(HintsParameters.model_fields)
    assert all(one["description"] for one in operation["parameters"])
    for params in (*({name: value} for name, value in examples.items()), examples):
        answer = client.get("/v1/hints", params=params)
        assert answer.status_code == 200, params
        assert len(answer.json()["hints"]) == params.get("k", 10)
    told = {name: entry["example"] for name, entry in operation["responses"]["200"]["headers"].items()}
    assert set(told) - {"Content-Encoding"} <= {name.title() for name in answer.headers}
    assert answer.headers["cache-control"] == told["Cache-Control"]


def test_the_examples_work(client: httpx.Client, document: dict[str, Any]) -> None:
    """A newcomer copies them."""
    post = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]
    assert {"search", "click", "hint_click", "batch"} <= set(post["examples"])
    for name, example in post["examples"].items():
        value = example["value"]
        for event in value if isinstance(value, list) else [value]:
            event.pop("ts", None)  # a date in an example grows old
        assert send(client, "POST", "/v1/events", value).status_code == 202, name
    inline = document["paths"]["/v1/hints"]["post"]
    example = inline["requestBody"]["content"]["application/json"]["example"]
    answer = send(client, "POST", "/v1/hints", example)
    assert answer.status_code == 200
    shown = inline["responses"]["200"]["content"]["application/json"]["example"]
    assert set(shown) == set(answer.json())
    assert set(shown["hints"][0]) == set(answer.json()["hints"][0])
    for known in document["paths"]["/v1/hints"]["get"]["responses"]["200"]["content"]["application/json"][
        "examples"
    ].values():
        HintsResponse.model_validate(known["value"])
    profile = document["paths"]["/v1/shoppers/{user_id}/profile"]["put"]["requestBody"]["content"]["application/json"]
    for body in profile.get("examples") or profile["schema"].get("examples"):
        assert send(client, "PUT", "/v1/shoppers/u42/profile", body).status_code == 204


def test_operations(client: httpx.Client) -> None:
    """Liveness, readiness and metrics as monitoring reads them."""
    assert client.get("/healthz").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["redis"], ready["breaker"]) == ("ready", "ok", "closed")
    assert ready["artefact"].startswith("00001-")
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    ours = [line for line in metrics.text.splitlines() if line.startswith("# HELP aigq_")]
    assert len(ours) >= 12
    assert 'aigq_requests_total{route="/v1/events"' in metrics.text
