"""Links in the OpenAPI schema: from creating something to the operations on it."""

from collections.abc import Iterator
from typing import Any

from uritemplate import variables

ENROLMENT_TOKENS = "/api/v1/enrolment-tokens"
ENROL = "enrol_create"
# Adds another one next to the one in the path.
ROTATE = "/rotate"
# Needed where several tenants may have something with the same name.
OF_TENANT = {"query.tenant": "$response.body#/tenant"}


def with_links(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A POSTPROCESSING_HOOK: links operations that create something to all operations on it, and
    enrolment tokens to enrolment. Must run after `with_doors`."""
    paths = result["paths"]
    for path, operations in paths.items():
        if links := dict(_links(path, paths)):
            operations["post"]["responses"]["201"]["links"] = links
    token = {"operationId": ENROL, "requestBody": {"token": "$response.body#/token"}}
    paths[ENROLMENT_TOKENS]["post"]["responses"]["201"]["links"][ENROL] = token
    return result


def _links(path: str, paths: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The links from the operation that creates something at this path, by their target."""
    for one in paths:
        if _adds(path, one):
            *outer, name = variables(one)
            named = {f"path.{part}": f"$request.path.{part}" for part in outer}
            named[f"path.{name}"] = f"$response.body#/{name}"
            for operation in _asked_of(one, paths):
                operation_id = operation["operationId"]
                has_tenant = any(part["name"] == "tenant" for part in operation["parameters"])
                parameters = named | (OF_TENANT if has_tenant else {})
                yield operation_id, {"operationId": operation_id, "parameters": parameters}


def _adds(path: str, one: str) -> bool:
    """True if a POST to `path` creates something whose path is `one`."""
    collection, _, name = one.rpartition("/")
    return name.startswith("{") and path in (collection, f"{one}{ROTATE}")


def _asked_of(one: str, paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The operations on a path, and on the paths directly below it."""
    for path, operations in paths.items():
        if path.startswith(one) and variables(path) == variables(one):
            yield from operations.values()
