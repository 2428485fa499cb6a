"""What a vendor publishes is found by request, whole, and as it was cut."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.vendors import checking, cut
from tests.vendors.description import described

_NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "vendors" / "descriptions").glob("*.json"))
_CONTEXT = "497f6eca-6276-4993-bfeb-53cbbbba6f08"
_GROUP = {
    "name": "g",
    "type": "Vsts",
    "variables": {"K": {"value": "v", "isSecret": True}},
    "variableGroupProjectReferences": [{"name": "g", "projectReference": {"id": "1", "name": "p"}}],
}


def faults(name: str, method: str, path: str, query: str = "", body: Any = None, kind: str = "application/json") -> Any:
    description = described(name)
    match = description.match(method, path)
    assert match is not None
    asked = {part.split("=")[0]: [part.split("=")[1]] for part in query.split("&") if part}
    read = checking.read_body(b"" if body is None else json.dumps(body).encode(), kind)
    return checking.request_faults(description, match.operation, match.parameters, asked, {}, read, ())


@pytest.mark.parametrize("name", _NAMES)
def test_a_cut_is_as_it_was_made(name: str) -> None:
    document = json.loads((Path(cut.__file__).parent / "descriptions" / f"{name}.json").read_bytes())
    assert document["source"]
    assert document["version"]
    if not document.get("written"):
        text = json.dumps(document["openapi"], sort_keys=True, separators=(",", ":"))
        assert document["integrity"].startswith("sha512-")
        assert document["sha256"] == hashlib.sha256(text.encode()).hexdigest(), (
            "edited by hand; see `make descriptions`"
        )


@pytest.mark.parametrize("name", _NAMES)
def test_everything_a_description_refers_to_is_in_it(name: str) -> None:
    description = described(name)
    judged = 0
    for template, item in description.openapi["paths"].items():
        for method in item.keys() - {"parameters"}:
            match = description.match(method.upper(), template.replace("{", "").replace("}", ""))
            assert match is not None, template
            contents = [*match.operation.responses.values(), *filter(None, [match.operation.body])]
            pointers = [p for content in contents for p in content.schemas.values()]
            pointers += [parameter.pointer for parameter in match.operation.parameters]
            for pointer in filter(None, pointers):
                documents: tuple[Any, ...] = ({}, [{}], "x", None)
                for document in documents:
                    description.faults(pointer, document)
                    judged += 1
    assert judged


@pytest.mark.parametrize(
    ("name", "method", "path", "operation", "parameters"),
    [
        (
            "circleci",
            "DELETE",
            "/project/gh/acme/shop/envvar/K",
            "/project/{project-slug}/envvar/{name}",
            {"project-slug": "gh/acme/shop", "name": "K"},
        ),
        ("circleci", "GET", "/project/gh%2Facme%2Fshop", "/project/{project-slug}", {"project-slug": "gh/acme/shop"}),
        ("gitlab", "GET", "/api/v4/projects/a%2Fb", "/api/v4/projects/{id}", {"id": "a/b"}),
        (
            "vault",
            "GET",
            "/v1/team/kv/data/a/metadata/b%20c",
            "/v1/{mount}/data/{path}",
            {"mount": "team/kv", "path": "a/metadata/b c"},
        ),
        ("vault", "GET", "/v1/kv/metadata/data/b", "/v1/{mount}/metadata/{path}", {"mount": "kv", "path": "data/b"}),
        ("vault", "POST", "/v1/auth/approle/login", "/v1/auth/{mount}/login", {"mount": "approle"}),
        ("bitbucket", "GET", "/workspaces/%7B1%7D", "/workspaces/{workspace}", {"workspace": "{1}"}),
    ],
)
def test_a_path_is_taken_apart(name: str, method: str, path: str, operation: str, parameters: dict[str, str]) -> None:
    match = described(name).match(method, path)
    assert match is not None
    assert match.operation.name == f"{method} {operation}"
    assert match.parameters == parameters


@pytest.mark.parametrize(
    ("name", "method", "path", "query", "body", "kind"),
    [
        ("circleci", "PUT", f"/context/{_CONTEXT}/environment-variable/K", "", {"value": "v"}, "application/json"),
        ("circleci", "GET", "/context", "owner-slug=gh/a&page-token=t", None, ""),
        (
            "gitlab",
            "PUT",
            "/api/v4/groups/1/variables/K",
            "filter[environment_scope]=a",
            {"value": "v"},
            "application/json",
        ),
        ("gitlab", "GET", "/api/v4/projects/1/variables", "page=2&per_page=100", None, ""),
        (
            "azure-devops",
            "PUT",
            "/o/_apis/distributedtask/variablegroups/3",
            "api-version=7.1",
            _GROUP,
            "application/json",
        ),
        ("azure-devops", "GET", "/o/p/_apis/distributedtask/variablegroups", "groupName=g&api-version=7.1", None, ""),
        ("vault", "POST", "/v1/kv/data/a", "", {"data": {"K": "v"}, "options": {"cas": 0}}, "application/json"),
        ("kubernetes", "PATCH", "/api/v1/namespaces/n/secrets/s", "", {"data": {}}, "application/merge-patch+json"),
        ("kubernetes", "PUT", "/api/v1/namespaces/n/secrets/s", "", {"stringData": {"K": "v"}}, "application/json"),
        ("kubernetes", "PUT", "/api/v1/namespaces/n/secrets/s", "", {"stringData": {"K": "v"}}, ""),
    ],
)
def test_a_proper_request_fits(name: str, method: str, path: str, query: str, body: Any, kind: str) -> None:
    assert faults(name, method, path, query, body, kind) == []


@pytest.mark.parametrize(
    ("name", "method", "path", "query", "body", "text"),
    [
        ("circleci", "GET", "/context/7", "", None, "context-id: the whole: does not fit pattern"),
        ("gitlab", "DELETE", "/api/v4/admin/ci/variables/K", "filter[environment_scope]=a", None, "is not declared"),
        (
            "gitlab",
            "DELETE",
            "/api/v4/projects/1/variables/K",
            "filter[scope]=a",
            None,
            "filter[scope] is not declared",
        ),
        (
            "gitlab",
            "POST",
            "/api/v4/projects/1/variables",
            "",
            {"key": "A-B", "value": "v"},
            "key: does not fit pattern",
        ),
        (
            "azure-devops",
            "DELETE",
            "/o/_apis/distributedtask/variablegroups/3",
            "api-version=7.1",
            None,
            "lacks the query",
        ),
        ("azure-devops", "GET", "/o/_apis/projects/p", "", None, "lacks the query parameter api-version"),
        ("vault", "POST", "/v1/kv/data/a", "", {"K": "v"}, "lacks data"),
        ("kubernetes", "PATCH", "/api/v1/namespaces/n/secrets/s", "", {}, "the body is application/json, declared is"),
        ("kubernetes", "POST", "/api/v1/namespaces/n/secrets", "", {"secrets": {}}, "secrets is not declared"),
    ],
)
def test_an_improper_request_does_not(name: str, method: str, path: str, query: str, body: Any, text: str) -> None:
    assert text in "\n".join(faults(name, method, path, query, body))


def test_a_schema_of_openapi_3_0_becomes_one_of_today() -> None:
    assert cut.schema({"type": "string", "nullable": True, "enum": ["a"], "description": "d"}) == {
        "type": ["string", "null"],
        "enum": ["a", None],
    }
    assert cut.schema({"$ref": "#/x", "nullable": True}) == {"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}
    assert cut.schema({"minimum": 1, "exclusiveMinimum": True}) == {"exclusiveMinimum": 1}
    assert cut.schema({"properties": {"description": {"type": "string", "example": "e"}}}) == {
        "properties": {"description": {"type": "string"}}
    }
