import { formatIpv4, type Ipv4 } from '../addr/ipv4.ts';
import type { Names } from './names.ts';
import type { Question } from './question.ts';
import { reverseAddress } from './reverse.ts';

/** `ID.GROUP.culvert` */
export const ZONE = 'culvert';

/** RFC 1035, 2.3.3 and 4.1.1; RFC 6891, 9 */
export const CODES = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

export type Code = keyof typeof CODES;

export type Found =
  | { readonly type: 'A' | 'PTR'; readonly name: string; readonly data: string }
  | { readonly type: 'SOA'; readonly name: string };

export type Answer = {
  readonly code: Code;
  readonly found: readonly Found[];
  /** where nothing was found, the zone that says so: its SOA record goes along, RFC 2308 */
  readonly zone?: string;
};

/** RFC 1035, 3.2.2 to 3.2.4; RFC 1995, 2 */
const A = 1;
const SOA = 6;
const PTR = 12;
const IXFR = 251;
const AXFR = 252;
const ANY = 255;
const IN = 1;

const REFUSED: Answer = { code: 'REFUSED', found: [] };
const NO_DATA: Answer = { code: 'NOERROR', found: [], zone: ZONE };
/** Whoever asks is to ask again. */
const NOT_YET: Answer = { code: 'SERVFAIL', found: [] };
const NO_NAME: Answer = { code: 'NXDOMAIN', found: [], zone: ZONE };

/**
 * What an asker may know. Of groups that are not its own it learns nothing, not even whether there are such; what is
 * not of the zone is refused, so that a client goes on to its next name server.
 */
export function answerTo(question: Question, asker: Ipv4, names: Names): Answer {
  const { labels, type } = question;
  if (question.class !== IN || type === AXFR || type === IXFR) return REFUSED;
  if (labels.at(-1) === ZONE) return forward(question, names.groupOf(asker), names);
  const address = reverseAddress(labels);
  return address === undefined ? REFUSED : reverse(question, address, names.groupOf(asker), names);
}

function forward({ labels, name, type }: Question, group: string | undefined, names: Names): Answer {
  if (labels.length === 1) {
    return type === SOA || type === ANY ? { code: 'NOERROR', found: [{ type: 'SOA', name }] } : NO_DATA;
  }
  if (group === undefined || labels.at(-2) !== group) return NO_NAME;
  const [id = ''] = labels;
  if (labels.length === 2) return NO_DATA;
  const addresses = labels.length === 3 ? names.addressesOf(group, id) : [];
  if (addresses.length === 0) return names.isWhole(group) ? NO_NAME : NOT_YET;
  if (type !== A && type !== ANY) return NO_DATA;
  return { code: 'NOERROR', found: addresses.map((address) => ({ type: 'A', name, data: formatIpv4(address) })) };
}

/** Each address of a member is a zone of its own: those around it may be anybody's. */
function reverse({ name, type }: Question, address: Ipv4, group: string | undefined, names: Names): Answer {
  const id = group === undefined ? undefined : names.idAt(group, address);
  if (id === undefined) return REFUSED;
  if (type === SOA) return { code: 'NOERROR', found: [{ type: 'SOA', name }] };
  if (type !== PTR && type !== ANY) return { ...NO_DATA, zone: name };
  return { code: 'NOERROR', found: [{ type: 'PTR', name, data: `${id}.${group}.${ZONE}` }] };
}
