"""An admin interface for SQLAlchemy models: lists, forms, and a log of all changes.

Copy this file and the templates beside your app.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from micropie import App, FromSession, HTTPError, methods
from sqlalchemy import JSON, Column, String, false, func, inspect, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PER_PAGE = 20
MOST_CHOICES = 1000
# Workers that start together make their tables one after the other.
LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(763)"}


class LogBase(DeclarativeBase):
    """The base of the one table that the interface adds."""


class Change(LogBase):
    """A change that a member of staff has made: of each column, the old and the new."""

    __tablename__ = "admin_log"
    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime] = mapped_column(server_default=func.now())
    staff: Mapped[str] = mapped_column(String(100))
    row: Mapped[str] = mapped_column(String(200))
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)


class Admin(App):
    """The pages; `is_staff` gets a name and a password."""

    def __init__(
        self, engine: AsyncEngine, models: Any, is_staff: Callable[[str, str], bool]
    ) -> None:
        super().__init__(session_timeout=3600)
        self._engine = engine
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
        """Show the start page, or lead to the login."""
        if "staff" in self.request.session:
            return self._page("base.html")
        return self._redirect(self._url("login"), 303)

    async def rows(
        self, table: str, /, *, staff: FromSession, q: str = "", page: int = 1
    ) -> Any:
        """Show a page of the rows in which a text contains `q`, the newest first."""
        model = self._model(table)
        columns, [key] = inspect(model).columns, inspect(model).primary_key
        page = min(max(page, 1), 1_000_000)
        query = select(model).order_by(key.desc()).offset((page - 1) * PER_PAGE)
        if q := q.replace("\0", "")[:100]:  # databases refuse more
            texts = [column for column in columns if column.type.python_type is str]
            hits = [column.icontains(q, autoescape=True) for column in texts]
            query = query.where(or_(false(), *hits))
        async with AsyncSession(self._engine) as db:
            found = list(await db.scalars(query.limit(PER_PAGE + 1)))
        context = {"table": table, "q": q, "page": page, "key": key.key}
        context |= {"rows": found[:PER_PAGE], "more": len(found) > PER_PAGE}
        context |= {"names": columns.keys(), "log": model is Change}
        return await self._page("rows.html", **context)

    @methods("GET", "POST")
    async def row(self, table: str, key: str = "", /, *, staff: FromSession) -> Any:
        """Show the form of a new row or an old one, or save what it sends."""
        model = self._model(table, to_change=True)
        fields = [one for one in inspect(model).columns if has_field(one)]
        wrong: list[str] = []
        async with AsyncSession(self._engine) as db:
            row = await self._row(db, model, key) if key else model()
            old, values = texts_of(row) if key else {}, texts_of(row)
            choices = await self._choices(db, model)
            if self.request.method == "POST":
                values = {one.key: self.request.form(one.key, "") for one in fields}
                wrong = fill_in(row, fields, values)
                if not wrong and await self._save(db, row, old, staff):
                    return self._redirect(self._url(f"rows/{table}"), 303)
                wrong = wrong or ["this row: the database refuses it"]
        status, texts = (400 if wrong else 200), {"key": key, "table": table}
        context = {"fields": fields, "values": values, "choices": choices} | texts
        return await self._page("row.html", status, wrong=wrong, **context)

    @methods("POST")
    async def delete(self, table: str, key: str, /, *, staff: FromSession) -> Any:
        """Delete a row."""
        model = self._model(table, to_change=True)
        async with AsyncSession(self._engine) as db:
            row = await self._row(db, model, key)
            if not await self._save(db, row, texts_of(row), staff, delete=True):
                raise HTTPError(409, "Other rows need this one.")
        return self._redirect(self._url(f"rows/{table}"), 303)

    async def _save(
        self, db: AsyncSession, row: Any, old: Any, staff: str, *, delete: bool = False
    ) -> bool:
        """Store or delete a row, and log it; return False if the database refuses."""
        try:
            await db.delete(row) if delete else db.add(row)
            await db.flush()
            new = {} if delete else texts_of(row)
            pairs = {name: [old.get(name), new.get(name)] for name in old | new}
            changes = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
            place = f"{row.__tablename__}/{inspect(row).identity[0]}"
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
            await connection.exec_driver_sql(LOCKS[self._engine.dialect.name])
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


def as_text(value: Any) -> str:
    """Return a value as a form has it."""
    if isinstance(value, bool):
        return "on" if value else ""
    return "" if value is None else str(value)


def texts_of(row: Any) -> dict[str, str]:
    """Return the values of a row."""
    keys = [column.key for column in inspect(type(row)).columns]
    return {key: as_text(getattr(row, key)) for key in keys}


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
    if not text or len(text) > (getattr(column.type, "length", None) or 100_000):
        raise ValueError("missing, or too long")
    value = getattr(kind, "fromisoformat", kind)(text)
    if hasattr(value, "__abs__") and not abs(value) < 2**63:
        raise ValueError("NaN, or too large")
    return value
