import { REASON_MAX, SLOT_MAX, SPECIFICATION_MAX } from './lease.ts';

/** Bounds of a bridge range: one sandbox at the least, four times the ports that a bridge has at the most. */
export const BRIDGE_LENGTH = { min: 20, max: 30 } as const;

/** In `PRAGMA application_id`, so that another program's database is not taken for ours: "Culv". */
export const APPLICATION_ID = 0x43756c76;
/** In `PRAGMA user_version`; grows with each change to the tables. */
export const SCHEMA_VERSION = 2;

/**
 * Every slot has its one row from the beginning and keeps it, which makes a slot unique by the primary key and its
 * generation impossible to lose. `free_order` is 0 for a slot never used, so that these go first; `warm_order` is the
 * same for the leases of one topology in the warm pool.
 *
 * `bridge_address` has a row for each address that a sandbox may have on the bridge. The two tables point at each other:
 * a lease holds an address exactly where the address says that it is held, and an address is in one lease at the most.
 * `probed` is 1 where the wire was asked about the address since it was last let go.
 *
 * The indexes are partial because most rows are free most of the time; SQLite uses one only for a query that repeats
 * its WHERE term word for word.
 */
export const SCHEMA = `
  CREATE TABLE lease (
    slot           INTEGER PRIMARY KEY CHECK (slot BETWEEN 1 AND ${SLOT_MAX}),
    generation     INTEGER NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),
    state          TEXT NOT NULL CHECK (state IN ('creating', 'warm', 'ready', 'removing', 'quarantined', 'free')),
    topology       TEXT CHECK (topology IN ('microvm', 'netns', 'bridge')),
    sandbox_id     TEXT CHECK (length(sandbox_id) BETWEEN 1 AND 63
                               AND sandbox_id NOT GLOB '*[^a-z0-9-]*' AND sandbox_id NOT GLOB '-*'),
    specification  TEXT CHECK (octet_length(specification) <= ${SPECIFICATION_MAX}),
    bridge_address INTEGER UNIQUE REFERENCES bridge_address (held) DEFERRABLE INITIALLY DEFERRED,
    boot_id        TEXT,
    since_wall_ms  INTEGER NOT NULL,
    due_mono_ms    INTEGER,
    flush_verified INTEGER CHECK (flush_verified IN (0, 1)),
    reason         TEXT CHECK (length(reason) BETWEEN 1 AND ${REASON_MAX}),
    free_order     INTEGER,
    warm_order     INTEGER,
    CHECK ((state = 'free') = (topology IS NULL)),
    CHECK ((topology IS 'bridge') = (bridge_address IS NOT NULL)),
    CHECK ((state = 'free') = (boot_id IS NULL)),
    CHECK ((state = 'free') = (free_order IS NOT NULL)),
    CHECK ((state = 'warm') = (warm_order IS NOT NULL)),
    CHECK ((sandbox_id IS NULL) = (specification IS NULL)),
    CHECK (state NOT IN ('free', 'warm') OR sandbox_id IS NULL),
    CHECK (state <> 'ready' OR sandbox_id IS NOT NULL),
    CHECK (state = 'free' OR generation >= 1),
    CHECK ((state = 'quarantined') = (due_mono_ms IS NOT NULL)),
    CHECK ((state = 'quarantined') = (flush_verified IS NOT NULL)),
    CHECK ((state = 'quarantined') = (reason IS NOT NULL))
  ) STRICT;

  CREATE UNIQUE INDEX lease_owner ON lease (sandbox_id) WHERE state IN ('creating', 'ready', 'removing');
  CREATE INDEX lease_free ON lease (free_order, slot) WHERE state = 'free';
  CREATE INDEX lease_warm ON lease (topology, warm_order) WHERE state = 'warm';
  CREATE INDEX lease_held ON lease (slot) WHERE state <> 'free';
  CREATE INDEX lease_due ON lease (due_mono_ms, slot) WHERE state = 'quarantined';

  CREATE TABLE bridge_range (
    only          INTEGER PRIMARY KEY CHECK (only = 1),
    address       INTEGER NOT NULL CHECK (address BETWEEN 0 AND 4294967295),
    prefix_length INTEGER NOT NULL CHECK (prefix_length BETWEEN ${BRIDGE_LENGTH.min} AND ${BRIDGE_LENGTH.max})
  ) STRICT;

  CREATE TABLE bridge_address (
    address          INTEGER PRIMARY KEY CHECK (address BETWEEN 0 AND 4294967295),
    held             INTEGER UNIQUE CHECK (held = address)
                     REFERENCES lease (bridge_address) DEFERRABLE INITIALLY DEFERRED,
    free_order       INTEGER,
    probed           INTEGER NOT NULL CHECK (probed IN (0, 1)),
    conflict_mac     BLOB CHECK (length(conflict_mac) = 6),
    conflict_reason  TEXT CHECK (length(conflict_reason) BETWEEN 1 AND ${REASON_MAX}),
    conflict_wall_ms INTEGER,
    CHECK ((held IS NULL) = (free_order IS NOT NULL)),
    CHECK ((conflict_mac IS NULL) = (conflict_reason IS NULL)),
    CHECK ((conflict_mac IS NULL) = (conflict_wall_ms IS NULL))
  ) STRICT;

  CREATE INDEX bridge_free ON bridge_address (free_order, address)
    WHERE held IS NULL AND conflict_mac IS NULL AND probed = 1;
  CREATE INDEX bridge_unprobed ON bridge_address (free_order, address)
    WHERE held IS NULL AND conflict_mac IS NULL AND probed = 0;
  CREATE INDEX bridge_order ON bridge_address (free_order) WHERE held IS NULL;
  CREATE INDEX bridge_conflict ON bridge_address (address) WHERE conflict_mac IS NOT NULL;

  INSERT INTO lease (slot, generation, state, since_wall_ms, free_order)
    WITH RECURSIVE n (slot) AS (VALUES (1) UNION ALL SELECT slot + 1 FROM n WHERE slot < ${SLOT_MAX})
    SELECT slot, 0, 'free', 0, 0 FROM n;

  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;
