"""The tables. Alembic compares them with the database to write a migration."""

from typing import Any

from sqlalchemy import MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

LARGEST_ID = 2**31 - 1
NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of all tables."""

    # A migration can drop a constraint if it has a name.
    metadata = MetaData(naming_convention=NAMES)
    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)

    def as_dict(self) -> dict[str, Any]:
        """Return the columns; leave out here what clients must not see."""
        names = [column.key for column in self.__mapper__.column_attrs]
        return {name: getattr(self, name) for name in names}


class Contact(Base):
    """A person. No two have the same email address."""

    __tablename__ = "contacts"

    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(200), unique=True)
