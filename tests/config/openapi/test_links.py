from collections.abc import Iterator
from typing import Any, NamedTuple

from drf_spectacular.generators import SchemaGenerator

generator: Any = SchemaGenerator
SCHEMA: dict[str, Any] = generator().get_schema(public=True)
OPERATIONS: dict[str, dict[str, Any]] = {
    operation["operationId"]: operation
    for operations in SCHEMA["paths"].values()
    for operation in operations.values()
}


class Found(NamedTuple):
    source: str
    answer: dict[str, Any]
    link: dict[str, Any]


def links() -> Iterator[Found]:
    for source, operation in OPERATIONS.items():
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                yield Found(source, answer, link)


def targets(source: str) -> set[str]:
    return {found.link["operationId"] for found in links() if found.source == source}


def body_of(answer: dict[str, Any]) -> dict[str, Any]:
    ref: str = answer["content"]["application/json"]["schema"]["$ref"]
    found: dict[str, Any] = SCHEMA["components"]["schemas"][ref.rpartition("/")[2]]["properties"]
    return found


def test_a_link_names_what_its_operation_takes_and_its_answer_has() -> None:
    for source, answer, link in links():
        taken = {f"{one['in']}.{one['name']}" for one in parameters(link["operationId"])}
        given = {f"$request.{one['in']}.{one['name']}" for one in parameters(source)}
        given |= {f"$response.body#/{name}" for name in body_of(answer)}
        assert set(link.get("parameters", {})) <= taken, (source, link)
        assert {*link.get("parameters", {}).values()} <= given, (source, link)
        assert {*link.get("requestBody", {}).values()} <= given, (source, link)


def parameters(operation: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = OPERATIONS[operation].get("parameters", [])
    return found


def test_links_lead_from_a_new_key_to_what_is_done_with_it() -> None:
    for of in ("devices", "tenants"):
        kept = {
            f"{of}_credentials_{name}" for name in ("retrieve", "revoke_create", "rotate_create")
        }
        assert targets(f"{of}_credentials_create") == kept
        assert targets(f"{of}_credentials_rotate_create") == kept


def test_links_lead_from_a_new_site_to_itself() -> None:
    assert targets("sites_create") == {"sites_retrieve", "sites_partial_update", "sites_destroy"}


def test_a_link_leads_from_an_enrolment_token_to_where_it_is_used() -> None:
    assert "enrol_create" in targets("enrolment_tokens_create")
