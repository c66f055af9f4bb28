"""the first tables"""  # noqa: D400, D403, D415 - Alembic lists migrations by this text

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def utc_datetime(name: str, nullable: bool = False) -> sa.Column:
    """Return a column for a time."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def owner(name: str, table: str) -> sa.ForeignKeyConstraint:
    """Return a foreign key to a user."""
    return sa.ForeignKeyConstraint(
        [name], ["users.id"], name=f"fk_{table}_{name}", ondelete="CASCADE"
    )


def upgrade() -> None:
    """Create people and what they write, then what the site needs for itself."""
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(30), nullable=False),
        sa.Column("full_name", sa.String(100), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("password_version", sa.String(43), nullable=False),
        utc_datetime("created"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    create_posts()
    create_pictures()
    create_sessions()


def create_posts() -> None:
    """Create posts and their tags."""
    op.create_table(
        "posts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("slug", sa.String(100), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("draft", sa.Boolean(), nullable=False),
        utc_datetime("created"),
        utc_datetime("updated"),
        utc_datetime("published", nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        owner("author_id", "posts"),
        sa.PrimaryKeyConstraint("id", name="pk_posts"),
        sa.UniqueConstraint("uid", name="uq_posts_uid"),
        sa.UniqueConstraint("slug", name="uq_posts_slug"),
    )
    op.create_index("ix_posts_author_id", "posts", ["author_id"])
    op.create_index("ix_posts_draft_published", "posts", ["draft", "published"])
    op.create_table(
        "post_tags",
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name="fk_post_tags_post_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("post_id", "tag", name="pk_post_tags"),
    )
    op.create_index("ix_post_tags_tag", "post_tags", ["tag"])


def create_pictures() -> None:
    """Create pictures."""
    op.create_table(
        "pictures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("alt", sa.String(200), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        utc_datetime("created"),
        owner("owner_id", "pictures"),
        sa.PrimaryKeyConstraint("id", name="pk_pictures"),
        sa.UniqueConstraint("name", name="uq_pictures_name"),
    )
    op.create_index("ix_pictures_owner_id", "pictures", ["owner_id"])


def create_sessions() -> None:
    """Create sessions and login attempts."""
    op.create_table(
        "sessions",
        sa.Column("id_hash", sa.String(64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name="pk_sessions"),
    )
    op.create_index("ix_sessions_expires", "sessions", ["expires"])
    op.create_table(
        "login_attempts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_login_attempts"),
    )
    op.create_index("ix_login_attempts_key_at", "login_attempts", ["key", "at"])


def downgrade() -> None:
    """Drop everything; indexes go with their tables."""
    for table in (
        "login_attempts",
        "sessions",
        "pictures",
        "post_tags",
        "posts",
        "users",
    ):
        op.drop_table(table)
