"""An admin interface for SQLAlchemy models: lists, forms, and a log of all changes.

Copy this file and the templates beside your app.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from micropie import App, FromSession, HTTPError, methods
from sqlalchemy import JSON, Column, DateTime, String, Text, false, inspect, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PER_PAGE = 20
MOST_CHOICES = 1000


class LogBase(DeclarativeBase):
    """The base of the one table that the interface adds."""


class Change(LogBase):
    """A change that a member of staff has made: of each column, the old and the new."""

    __tablename__ = "admin_log"
    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC)
    )
    staff: Mapped[str] = mapped_column(String(100))
    row: Mapped[str] = mapped_column(String(200))
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)


class Admin(App):
    """The pages; mount it, as in ``app.mounts["/admin"]``.

    Args:
        engine: The database.
        models: Mapped classes, each with a primary key of one column. Selects and lists
            show `str()` of an object.
        is_staff: Whether a name and a password belong to a member of staff.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        models: list[Any],
        is_staff: Callable[[str, str], bool],
    ) -> None:
        super().__init__(session_timeout=3600)
        self._engine = engine
        self._open = async_sessionmaker(engine, expire_on_commit=False)
        self._models = {model.__tablename__: model for model in (*models, Change)}
        self._is_staff = is_staff
        self.startup_handlers.append(self._create_log)
        self.env.globals |= {"url": self._url, "tables": list(self._models)}
        self.env.filters["as_text"] = as_text

    @methods("GET", "POST")
    def login(self) -> Any:
        """Show the form, or check what it sends."""
        if self.request.method != "POST":
            return self._page("login.html")
        # Not parameters, which the URL could fill in: URLs end up in logs.
        name, password = (self.request.form(key, "") for key in ("name", "password"))
        if not self._is_staff(name, password):
            return self._page("login.html", 400, name=name, error=True)
        self.request.session["staff"] = name
        self.request.regenerate_session()
        return self._redirect(self._url(), 303)

    @methods("POST")
    def logout(self) -> Any:
        """Empty the session, which deletes it and its cookie."""
        self.request.session.clear()
        return self._redirect(self._url(), 303)

    def index(self) -> Any:
        """Lead to the login, or to the first table."""
        is_staff = "staff" in self.request.session
        path = f"rows/{next(iter(self._models))}" if is_staff else "login"
        return self._redirect(self._url(path), 303)

    async def rows(
        self, table: str, /, *, staff: FromSession, q="", sort="", page: int = 1
    ) -> Any:
        """Show a page of the rows in which a text contains `q`."""
        model = self._model(table)
        columns, [key] = inspect(model).columns, inspect(model).primary_key
        query = select(model)
        if q:
            texts = [column for column in columns if column.type.python_type is str]
            hits = [column.icontains(q, autoescape=True) for column in texts]
            query = query.where(or_(false(), *hits))
        sort = sort or f"-{key.key}"  # the newest first
        first = columns.get(sort.removeprefix("-"), key)
        query = query.order_by(first.desc() if sort.startswith("-") else first, key)
        page = min(max(page, 1), 1_000_000)
        query = query.limit(PER_PAGE + 1).offset((page - 1) * PER_PAGE)
        async with self._open() as db:
            try:
                found = list(await db.scalars(query))
            except DBAPIError:
                raise HTTPError(400, "The database refuses this.") from None
            choices = await self._choices(db, model)
        context = {"table": table, "q": q, "sort": sort, "page": page, "key": key.key}
        context |= {"rows": found[:PER_PAGE], "more": len(found) > PER_PAGE}
        context |= {"names": columns.keys(), "choices": choices, "log": model is Change}
        return await self._page("rows.html", **context)

    @methods("GET", "POST")
    async def row(self, table: str, key: str = "", /, *, staff: FromSession) -> Any:
        """Show the form of a new row or an old one, or save what it sends."""
        model = self._model(table, to_change=True)
        columns = inspect(model).columns
        fields = [column for column in columns if has_field(column)]
        wrong: list[str] = []
        async with self._open() as db:
            row = await self._row(db, model, key) if key else model()
            values = {one.key: as_text(getattr(row, one.key)) for one in columns}
            choices = await self._choices(db, model)
            if self.request.method == "POST":
                old = values if key else {}
                values = {one.key: self.request.form(one.key, "") for one in fields}
                wrong = fill_in(row, fields, values)
                if not wrong and await self._save(db, row, old, staff):
                    return self._redirect(self._url(f"rows/{table}"), 303)
                wrong = wrong or ["this row: the database refuses it"]
        context = {"fields": [field(one) for one in fields], "choices": choices}
        context |= {"table": table, "key": key, "values": values, "wrong": wrong}
        return await self._page("row.html", 400 if wrong else 200, **context)

    @methods("POST")
    async def delete(self, table: str, key: str, /, *, staff: FromSession) -> Any:
        """Delete a row."""
        model = self._model(table, to_change=True)
        async with self._open() as db:
            row = await self._row(db, model, key)
            names = inspect(model).columns.keys()
            changes = {name: [as_text(getattr(row, name)), None] for name in names}
            await db.delete(row)
            db.add(Change(staff=staff, row=f"{table}/{key}", changes=changes))
            try:
                await db.commit()
            except DBAPIError:
                raise HTTPError(409, "Other rows need this one.") from None
        return self._redirect(self._url(f"rows/{table}"), 303)

    async def _save(self, db: AsyncSession, row: Any, old: Any, staff: str) -> bool:
        """Store a row and what it changes; False if the database refuses."""
        try:
            db.add(row)
            await db.flush()
            mapper = inspect(type(row))
            place = f"{row.__tablename__}/{mapper.primary_key_from_instance(row)[0]}"
            new = {one.key: as_text(getattr(row, one.key)) for one in mapper.columns}
            pairs = {name: [old.get(name), text] for name, text in new.items()}
            changes = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
            db.add(Change(staff=staff, row=place, changes=changes))
            await db.commit()
        except DBAPIError:
            return False  # the end of the session undoes it
        return True

    def _model(self, table: str, *, to_change: bool = False) -> Any:
        model = self._models.get(table)
        if model is None or (to_change and model is Change):
            raise HTTPError(404)
        return model

    async def _row(self, db: AsyncSession, model: Any, key: str) -> Any:
        try:
            row = await db.get(model, read(inspect(model).primary_key[0], key))
        except (ArithmeticError, DBAPIError, ValueError):
            row = None
        if row is None:
            raise HTTPError(404)
        return row

    async def _choices(self, db: AsyncSession, model: Any) -> dict[str, dict[str, str]]:
        """Return, for each foreign key, its values and how people see them."""
        found: dict[str, dict[str, str]] = {}
        tables = {one.__table__: one for one in self._models.values()}
        for column in inspect(model).columns:
            for at in (foreign.column for foreign in column.foreign_keys):
                rows = await db.scalars(select(tables[at.table]).limit(MOST_CHOICES))
                found[column.key] = {as_text(getattr(r, at.key)): str(r) for r in rows}
        return found

    async def _create_log(self) -> None:
        async with self._engine.begin() as connection:
            await connection.run_sync(LogBase.metadata.create_all)

    async def _page(self, template: str, status: int = 200, **context: Any) -> Any:
        context["staff"] = self.request.session.get("staff")
        return status, await self._render_template(template, **context)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


def has_field(column: Column[Any]) -> bool:
    """Whether people fill in a column; the database numbers the rows itself."""
    return not (column.primary_key and column.type.python_type is int)


def field(column: Column[Any]) -> dict[str, Any]:
    """Return what the form shows of a column."""
    kind = column.type.python_type.__name__
    kind = "textarea" if isinstance(column.type, Text) else kind
    return {"name": column.key, "kind": kind, "required": not column.nullable}


def as_text(value: Any) -> str:
    """Return a value as a form has it."""
    if isinstance(value, bool):
        return "on" if value else ""
    return "" if value is None else str(value)


def fill_in(row: Any, columns: list[Column[Any]], values: dict[str, str]) -> list[str]:
    """Give a row the values of a form; return the names of those that do not fit."""
    wrong = []
    for column in columns:
        try:
            text = values[column.key].strip().replace("\r\n", "\n")
            setattr(row, column.key, read(column, text))
        except (ArithmeticError, ValueError):
            wrong.append(column.key)
    return wrong


def read(column: Column[Any], text: str) -> Any:
    """Return the value that a text stands for, or raise an error."""
    kind: Any = column.type.python_type
    if kind is bool:
        return text == "on"
    if not text and column.nullable:
        return None
    if not text:
        raise ValueError("missing")
    if kind is str and len(text) > (getattr(column.type, "length", None) or 100_000):
        raise ValueError("too long")
    value = getattr(kind, "fromisoformat", kind)(text)
    if isinstance(value, int | float | Decimal) and not abs(value) < 2**63:
        raise ValueError("NaN, or too large")
    return value
