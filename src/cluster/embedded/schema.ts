import { KEY_MAX, VALUE_MAX } from '../registry.ts';

/** In `PRAGMA application_id`: "Culr". */
export const APPLICATION_ID = 0x43756c72;
/** In `PRAGMA user_version`; grows with each change to the tables. */
export const SCHEMA_VERSION = 1;

/** Changes that are kept for who follows; who is further behind is told everything again. */
export const CHANGES_KEPT = 10_000;

/**
 * `change` is what entries were set to, one row for each write, so that a follower asks for what came after it. A lease
 * ends at a time of the monotonic clock, which means nothing after a boot: then it has its whole time again.
 */
export const SCHEMA = `
  CREATE TABLE revision (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    current INTEGER NOT NULL CHECK (current >= 1)
  ) STRICT;

  CREATE TABLE granted (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    ttl_ms      INTEGER NOT NULL CHECK (ttl_ms >= 1000),
    boot_id     TEXT NOT NULL,
    due_mono_ms INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE entry (
    key      TEXT PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND ${KEY_MAX}),
    value    TEXT NOT NULL CHECK (octet_length(value) <= ${VALUE_MAX}),
    revision INTEGER NOT NULL,
    granted  INTEGER REFERENCES granted (id)
  ) STRICT;

  CREATE INDEX entry_granted ON entry (granted) WHERE granted IS NOT NULL;

  CREATE TABLE change (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    key      TEXT NOT NULL,
    value    TEXT
  ) STRICT;

  CREATE INDEX change_revision ON change (revision);

  INSERT INTO revision VALUES (1, 1);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;
