"""JSON bodies checked by models: the same order with pydantic and with msgspec."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
import pydantic
from micropie import App, HTTPError, Request, current_request, methods

Handler = Callable[..., Awaitable[Any]]


class Item(pydantic.BaseModel, extra="forbid"):
    """One line of an order."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=100)]
    count: Annotated[int, pydantic.Field(ge=1, le=100, strict=True)] = 1
    price: Annotated[Decimal, pydantic.Field(ge=0, max_digits=8, decimal_places=2)]


class Order(pydantic.BaseModel, extra="forbid"):
    """What somebody orders."""

    customer: Annotated[str, pydantic.Field(min_length=1, max_length=100)]
    delivery: date | None = None
    payment: Literal["card", "cash"] = "card"
    items: Annotated[list[Item], pydantic.Field(min_length=1, max_length=50)]

    def total(self) -> Decimal:
        """Return what it costs."""
        return sum((item.price * item.count for item in self.items), Decimal(0))


Short = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class FastItem(msgspec.Struct, forbid_unknown_fields=True):
    """One line of an order."""

    name: Short
    price: Annotated[float, msgspec.Meta(ge=0, le=999_999.99)]
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1


class FastOrder(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody orders."""

    customer: Short
    items: Annotated[list[FastItem], msgspec.Meta(min_length=1, max_length=50)]
    delivery: date | None = None
    payment: Literal["card", "cash"] = "card"


def json_model(handler: Handler) -> Handler:
    """Fill the parameter ``body`` from the JSON body, by the model in its annotation.

    Use it under ``@methods``. ``__signature__`` tells the framework of the other ones.
    """
    model = get_type_hints(handler)["body"]
    parse = _from_pydantic if issubclass(model, pydantic.BaseModel) else _from_msgspec

    @functools.wraps(handler)
    async def checked(*args: Any, **kwargs: Any) -> Any:
        request = current_request.get()
        if _media_type(request) != "application/json":
            raise HTTPError(415, _one_error("", "Send application/json"))
        return await handler(*args, body=parse(model, await request.body()), **kwargs)

    known = inspect.signature(handler)
    others = [one for name, one in known.parameters.items() if name != "body"]
    checked.__signature__ = known.replace(parameters=others)  # type: ignore[attr-defined]
    return checked


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _one_error(field: str, problem: str) -> dict[str, Any]:
    return {"errors": [{"field": field, "problem": problem}]}


def _from_pydantic(model: type[pydantic.BaseModel], body: bytes) -> pydantic.BaseModel:
    try:
        return model.model_validate_json(body)
    except pydantic.ValidationError as error:
        # What was sent is left out: it may be large, or a secret.
        found = error.errors(
            include_url=False,
            include_input=False,
            include_context=False,
        )
        problems = [
            {"field": _path(one["loc"]), "problem": one["msg"]} for one in found
        ]
        raise HTTPError(422, {"errors": problems}) from None


def _path(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place))


def _from_msgspec(model: type[msgspec.Struct], body: bytes) -> msgspec.Struct:
    try:
        return msgspec.json.decode(body, type=model)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem, _, place = str(error).partition(" - at `$")
        field = place.rstrip("`").lstrip(".").replace("[", ".").replace("]", "")
        raise HTTPError(422, _one_error(field, problem)) from None


class Shop(App):
    """Takes orders."""

    async def index(self) -> dict[str, str]:
        """Say where orders go."""
        base = self.request.scope.get("root_path", "")
        return {
            "pydantic": f"{base}/orders",
            "msgspec": f"{base}/fast-orders",
            "schema": f"{base}/schema",
        }

    @methods("POST")
    @json_model
    async def orders(
        self,
        body: Order,
        *,
        test: bool = False,
    ) -> tuple[int, dict[str, Any]]:
        """Take an order by pydantic, which lists all that is wrong."""
        return 200 if test else 201, {
            "customer": body.customer,
            "total": body.total(),
            "delivery": body.delivery,
        }

    @methods("POST")
    @json_model
    async def fast_orders(self, body: FastOrder) -> tuple[int, dict[str, Any]]:
        """Take an order by msgspec, which is quicker and names the first mistake."""
        total = round(sum(item.price * item.count for item in body.items), 2)
        return 201, {
            "customer": body.customer,
            "total": total,
            "delivery": body.delivery,
        }

    async def schema(self) -> dict[str, Any]:
        """Publish what an order must look like, as JSON Schema."""
        return Order.model_json_schema()


app = Shop()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
