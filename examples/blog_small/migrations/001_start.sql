CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- no id twice, since old sessions name it
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password TEXT NOT NULL  -- its salt and hash
);
CREATE TABLE posts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the number of a deleted post stays unused
    author_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE sessions (
    id_hash TEXT PRIMARY KEY,
    data TEXT NOT NULL,  -- JSON
    expires REAL NOT NULL  -- seconds since 1970
);
CREATE INDEX sessions_by_end ON sessions (expires);
