"""Orders that arrive as JSON or as a form, checked by pydantic models."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from micropie import App, methods
from pydantic import BaseModel, Field

Text = Annotated[str, Field(min_length=1, max_length=100)]
Price = Annotated[Decimal, Field(ge=0, max_digits=8, decimal_places=2)]


class Item(BaseModel, extra="forbid"):
    """One line of an order."""

    name: Text
    price: Price
    count: Annotated[int, Field(ge=1, le=100)] = 1


class Order(BaseModel, extra="forbid"):
    """An order. The model refuses all that it doesn't allow."""

    customer: Text
    items: Annotated[list[Item], Field(min_length=1, max_length=50)]
    delivery: date | None = None
    payment: Literal["card", "cash"] = "card"


class Receipt(BaseModel):
    """The answer to an order; a handler returns it as it is."""

    customer: str
    total: Decimal
    delivery: date | None


class Subscription(BaseModel):
    """The fields of an HTML form."""

    email: Annotated[str, Field(pattern=r"^[^@ ]+@[^@ ]+\.[a-z]+$", max_length=254)]
    topics: list[Literal["bread", "pies"]] = []


class Shop(App):
    """Takes orders."""

    async def index(self) -> dict[str, str]:
        """Name the other URLs."""
        return {name: self._url(name) for name in ("orders", "subscribe", "schema")}

    @methods("POST")
    async def orders(self, order: Order, *, test: bool = False) -> tuple[int, Receipt]:
        """Take an order; MicroPie makes the model of the whole body, or answers 400."""
        total = sum((item.price * item.count for item in order.items), Decimal(0))
        receipt = Receipt(customer=order.customer, total=total, delivery=order.delivery)
        return 200 if test else 201, receipt

    @methods("POST")
    async def subscribe(self, form: Subscription) -> Subscription:
        """Take a form; a field that is sent several times is a list."""
        return form

    async def schema(self) -> dict[str, Any]:
        """Show how an order must look, as JSON Schema."""
        return Order.model_json_schema()

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Shop()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
