"""Describes an app as OpenAPI 3.1, from the signatures and docstrings of its handlers.

Parameters before ``/`` are in the path, and a pydantic model is the JSON body. Others
are in the query; in a form if the method is POST, PUT or PATCH and there is no model.
"""

import inspect
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from micropie import App, FromSession, Route, UploadedFile, routes
from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

SESSION = {"type": "apiKey", "in": "cookie", "name": "session_id"}
EMPTY = inspect.Parameter.empty
# Parameters by place, each with its name, annotation and default.
Places = dict[str, list[tuple[str, Any, Any]]]


class Error(BaseModel):
    """The body of each error."""

    error: str


class Document:
    """Makes the document of an app and of the apps that are mounted in it."""

    def __init__(self, app: App, title: str, version: str) -> None:
        self._wanted: list[tuple[dict[str, Any], Any, TypeAdapter[Any]]] = []
        classes: dict[str, type[App]] = {}
        waiting: list[Any] = [app]
        for one in waiting:
            if isinstance(one, App) and type(one).__name__ not in classes:
                classes[type(one).__name__] = type(one)
                waiting += one.mounts.values()
        paths: dict[str, dict[str, Any]] = {}
        for route in routes(app):
            owner, _, name = route.handler.partition(".")
            if route.protocol == "http" and owner in classes:
                function = getattr(classes[owner], name)
                for path, method, operation in self._operations(route, function):
                    paths.setdefault(path, {})[method] = operation
        self.content = {
            "openapi": "3.1.0",
            "info": {"title": title, "version": version},
            "paths": paths,
            "components": {
                "schemas": self._schemas(),
                "securitySchemes": {"session": SESSION},
            },
        }

    def _operations(
        self, route: Route, function: Any
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield path, method and operation; an optional segment makes a second path."""
        signature = inspect.signature(function, eval_str=True)
        places: Places = {"path": [], "query": [], "model": [], "session": []}
        for one in route.parameters:
            if not one[0].startswith("*"):
                places[_place(one[1], signature.parameters[one[0]].kind)].append(one)
        usual = ("POST",) if places["model"] else ("GET",)
        methods = [name for name in route.methods or usual if name != "HEAD"]
        name = route.path.strip("/").replace("/", "_") or "index"
        summary, _, more = (inspect.getdoc(function) or name).partition("\n\n")
        segments = places["path"]
        fewest = sum(default is EMPTY for _, _, default in segments)
        for count in range(fewest, len(segments) + 1):
            places["path"] = segments[:count]
            names = [f"{{{name}}}" for name, _, _ in places["path"]]
            path = "/".join([route.path.rstrip("/"), *names]) or "/"
            suffix = f"_by_{segments[count - 1][0]}" if count > fewest else ""
            for method in methods:
                prefix = f"{method.lower()}_" if len(methods) > 1 else ""
                operation = {"operationId": prefix + name + suffix, "summary": summary}
                operation |= {"description": more} | self._inputs(method, places)
                results = self._results(signature.return_annotation)
                operation["responses"] = results | self._errors(places)
                yield path, method.lower(), operation

    def _inputs(self, method: str, places: Places) -> dict[str, Any]:
        """Return the parameters and the body; tell if the handler needs a login."""
        query, body = places["query"], places["model"][:1]
        if method not in {"POST", "PUT", "PATCH"}:
            body = []
        elif not body:
            query, body = [], query
        described = [
            {
                "name": name,
                "in": place,
                "required": place == "path" or default is EMPTY,
                "schema": self._schema(annotation, default=default),
            }
            for place, parameters in (("path", places["path"]), ("query", query))
            for name, annotation, default in parameters
        ]
        inputs: dict[str, Any] = {"parameters": described}
        required = [name for name, _, default in body if default is EMPTY]
        if body:
            media, schema = "application/json", {}
            if places["model"]:
                schema = self._schema(body[0][1])
            else:
                fields = {one[0]: self._schema(one[1], default=one[2]) for one in body}
                schema = {"type": "object", "properties": fields, "required": required}
                media = "multipart/form-data"
            content = {media: {"schema": schema}}
            inputs["requestBody"] = {"required": bool(required), "content": content}
        if places["session"]:
            inputs["security"] = [{"session": []}]
        return inputs

    def _results(self, annotation: Any) -> dict[str, Any]:
        """Describe what a handler returns; `tuple[Literal[201], X]` is a 201."""
        bodies: dict[int, list[Any]] = {}
        is_union = get_origin(annotation) in (Union, UnionType)
        for one in get_args(annotation) if is_union else [annotation]:
            status, body = 204 if one in (None, NoneType) else 200, one
            if get_origin(one) is tuple:
                code, body, *_ = get_args(one)
                status = next(iter(get_args(code)), 200)
            bodies.setdefault(status, []).append(body)
        return {
            str(status): self._response(status, Union[tuple(kinds)])  # noqa: UP007
            for status, kinds in bodies.items()
        }

    def _errors(self, places: Places) -> dict[str, Any]:
        found = {
            400: places["query"] or places["model"],
            401: places["session"],
            404: places["path"],
        }
        return {str(code): self._response(code, Error) for code in found if found[code]}

    def _response(self, status: int, body: Any) -> dict[str, Any]:
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if body is not NoneType:
            media = "text/html" if body is str else "application/json"
            schema = self._schema(body, "serialization")
            response["content"] = {media: {"schema": schema}}
        return response

    def _schema(
        self, annotation: Any, mode: Any = "validation", default: Any = None
    ) -> dict[str, Any]:
        """Return a dict that `_schemas` will fill."""
        schema: dict[str, Any] = {}
        if UploadedFile in (annotation, *get_args(annotation)):
            file = {"type": "string", "format": "binary"}
            is_list = get_origin(annotation) is list
            schema |= {"type": "array", "items": file} if is_list else file
        elif annotation is not EMPTY:
            with suppress(PydanticUserError):  # such as an iterator: any value
                self._wanted.append((schema, mode, TypeAdapter(annotation)))
        if default not in (None, EMPTY):
            schema["default"] = to_jsonable_python(default)
        return schema

    def _schemas(self) -> dict[str, Any]:
        """Make all schemas together, so that each model has one name."""
        wanted = [(at, mode, one) for at, (_, mode, one) in enumerate(self._wanted)]
        template = "#/components/schemas/{model}"
        found, shared = TypeAdapter.json_schemas(wanted, ref_template=template)
        for (at, _), schema in found.items():
            self._wanted[at][0].update(schema)
        return dict(shared.get("$defs", {}))


def _place(annotation: Any, kind: Any) -> str:
    """Tell where MicroPie takes a parameter from."""
    choices = (annotation, *get_args(annotation))
    if FromSession in choices:
        return "session"
    if any(hasattr(one, "model_validate") for one in choices):
        return "model"
    return "path" if kind is inspect.Parameter.POSITIONAL_ONLY else "query"
