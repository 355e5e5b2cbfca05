import { formatPrefix, type Prefix, parsePrefix } from '../../addr/prefix.ts';
import { InputError } from '../../errors.ts';

const BASES = ['open', 'internet', 'none'] as const;

/** What a sandbox may reach where no prefix of its own says otherwise; `compile.ts` has the tables. */
export type Egress = (typeof BASES)[number];

/** `allow` and `deny` refine `egress`: the longest prefix wins, and of two with one length `deny`. */
export type EgressPolicy = {
  readonly egress: Egress;
  readonly allow: readonly Prefix[];
  readonly deny: readonly Prefix[];
};

/** What to change of a policy; what is absent stays, and null is no prefixes. */
export type PolicyChange = {
  readonly egress?: Egress;
  readonly allow?: readonly Prefix[] | null;
  readonly deny?: readonly Prefix[] | null;
};

/** How many prefixes `allow` and `deny` may each have, repeated ones counted: it bounds the work before any is read. */
export const MAX_PREFIXES = 64;

/** `255.255.255.255/32`. A longer text is not a prefix, and is too long to be quoted back whole. */
const MAX_PREFIX_CHARS = 18;
const MAX_QUOTED_CHARS = 40;

/**
 * Reads `{ egress, allow?, deny? }`, prefixes as text, into canonical form. `field` is the path of `input` in the
 * request, and begins the `field` of every error.
 *
 * @throws InputError `invalid_policy` for a wrong shape, an unknown key or too many prefixes; `invalid_prefix` and
 * `invalid_ipv4` for a prefix that cannot be read
 */
export function parsePolicy(input: unknown, field = 'policy'): EgressPolicy {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalid(`Cannot read an egress policy from ${quote(input)}: want an object`, field);
  }
  const { egress, allow, deny, ...unknown } = input as Record<string, unknown>;
  const [extra] = Object.keys(unknown);
  if (extra !== undefined) {
    throw invalid(
      `Cannot read egress policy key ${quote(extra)}: want egress, allow or deny`,
      `${field}.${shorten(extra)}`,
    );
  }
  const base = BASES.find((name) => name === egress);
  if (base === undefined) {
    throw invalid(`Cannot use egress ${quote(egress)}: want one of ${BASES.join(', ')}`, `${field}.egress`);
  }
  return canonical({
    egress: base,
    allow: parsePrefixes(allow, `${field}.allow`),
    deny: parsePrefixes(deny, `${field}.deny`),
  });
}

/** A change laid over a policy, in canonical form. */
export function policyOver(
  base: EgressPolicy,
  { egress = base.egress, allow = base.allow, deny = base.deny }: PolicyChange,
): EgressPolicy {
  return canonical({ egress, allow: allow ?? [], deny: deny ?? [] });
}

/**
 * A text that two policies share exactly when their canonical forms are equal, such as
 * `internet +10.1.0.0/16 -192.0.2.0/24`. At most 2.6 kB, so a key for a map, not a name for a kernel object.
 */
export function policyId(policy: EgressPolicy): string {
  let id = ids.get(policy);
  if (id === undefined) {
    const { egress, allow, deny } = canonical(policy);
    id = [
      egress,
      ...allow.map((prefix) => `+${formatPrefix(prefix)}`),
      ...deny.map((prefix) => `-${formatPrefix(prefix)}`),
    ].join(' ');
    ids.set(policy, id);
  }
  return id;
}

/** Of policies that were asked about: thousands of sandboxes have the same one. */
const ids = new WeakMap<EgressPolicy, string>();

/** Sorted, each prefix once. What the same prefix denies stays allowed, for when it is denied no more. */
function canonical({ egress, allow, deny }: EgressPolicy): EgressPolicy {
  return { egress, allow: sortedOnce(allow), deny: sortedOnce(deny) };
}

function sortedOnce(prefixes: readonly Prefix[]): Prefix[] {
  const byText = new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix]));
  return [...byText.values()].toSorted((a, b) => a.address - b.address || a.length - b.length);
}

function parsePrefixes(input: unknown, field: string): Prefix[] {
  if (input === undefined) return [];
  if (!Array.isArray(input)) throw invalid(`Cannot read prefixes from ${quote(input)}: want an array of texts`, field);
  if (input.length > MAX_PREFIXES) {
    throw invalid(`Cannot use ${input.length} prefixes: want at most ${MAX_PREFIXES}`, field);
  }
  return Array.from(input, (text: unknown, index) => readPrefix(text, `${field}[${index}]`));
}

function readPrefix(text: unknown, field: string): Prefix {
  if (typeof text !== 'string' || text.length > MAX_PREFIX_CHARS) {
    throw invalid(`Cannot read prefix ${quote(text)}: want a text such as 10.0.0.0/8`, field);
  }
  try {
    return parsePrefix(text);
  } catch (cause) {
    if (cause instanceof InputError) throw new InputError(cause.code, cause.message, { field, cause });
    throw cause;
  }
}

function invalid(message: string, field: string): InputError {
  return new InputError('invalid_policy', message, { field });
}

/** Only what is short by nature or cut short: a message must not carry a whole request body. */
function quote(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shorten(value));
  if (Array.isArray(value)) return 'an array';
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return `a value of type ${typeof value}`;
}

function shorten(text: string): string {
  return text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS)}…` : text;
}
