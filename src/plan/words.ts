import { type Ipv4, ipv4Bytes } from '../addr/ipv4.ts';
import type { Mac } from '../addr/mac.ts';
import type { Prefix } from '../addr/prefix.ts';
import {
  ADDRESS_TYPE,
  CT_STATE,
  CT_STATUS,
  type Expression,
  type MetaKey,
  type PacketLimit,
  type Register,
  type Rule,
  type Span,
} from './ruleset.ts';

/*
 * The vocabulary that the rulesets are written in. A phrase fills registers from KEY on and reads them at once, so
 * phrases follow one another freely; only what a map gave, from DATA on, is there for the phrases after it.
 */

const KEY: Register = 0;
const DATA: Register = 8;

/**
 * The parts of a packet. An ICMP error quotes the packet that it is about after its own eight bytes, so that one's
 * source is at 8 + 12 and its destination at 8 + 16. What is in a VXLAN packet comes after the eight bytes of UDP, the
 * eight of its own header (RFC 7348) and an Ethernet header of fourteen.
 */
const PARTS = {
  'ether saddr': { base: 'link', offset: 6, length: 6 },
  'ip saddr': { base: 'network', offset: 12, length: 4 },
  'ip daddr': { base: 'network', offset: 16, length: 4 },
  'ip6 hoplimit': { base: 'network', offset: 7, length: 1 },
  'ip6 saddr': { base: 'network', offset: 8, length: 16 },
  'ip6 daddr': { base: 'network', offset: 24, length: 16 },
  'arp operation': { base: 'network', offset: 6, length: 2 },
  'arp saddr ether': { base: 'network', offset: 8, length: 6 },
  'arp saddr ip': { base: 'network', offset: 14, length: 4 },
  'arp daddr ip': { base: 'network', offset: 24, length: 4 },
  'icmp type': { base: 'transport', offset: 0, length: 1 },
  'icmpv6 type': { base: 'transport', offset: 0, length: 1 },
  'th sport': { base: 'transport', offset: 0, length: 2 },
  'th dport': { base: 'transport', offset: 2, length: 2 },
  'tcp flags': { base: 'transport', offset: 13, length: 1 },
  'quoted saddr': { base: 'transport', offset: 20, length: 4 },
  'quoted daddr': { base: 'transport', offset: 24, length: 4 },
  'inner protocol': { base: 'transport', offset: 28, length: 2 },
  'inner saddr': { base: 'transport', offset: 42, length: 4 },
} as const satisfies Record<string, Span>;

type Part = keyof typeof PARTS;
type Field = Part | 'iif' | 'oif' | 'mark' | 'l4proto' | Network;

/** Of an address the first bits alone, as many as `length`. */
type Network = { readonly part: 'ip saddr' | 'ip daddr' | 'inner saddr'; readonly length: number };

/** The Internet checksums over what may be rewritten, by their own offsets; the quoted one is at 8 + 10. */
const CHECKSUMS = {
  'ip saddr': { checksum: 10, pseudoHeader: true },
  'ip daddr': { checksum: 10, pseudoHeader: true },
  'quoted saddr': { checksum: 18, pseudoHeader: false },
  'quoted daddr': { checksum: 18, pseudoHeader: false },
} as const;

/** One after the other. */
export function rule(...phrases: readonly (readonly Expression[])[]): Rule {
  return phrases.flat();
}

export const accept: Rule = [{ kind: 'verdict', verdict: 'accept' }];
export const drop: Rule = [{ kind: 'verdict', verdict: 'drop' }];
export const counter: Rule = [{ kind: 'counter' }];
/** The packet is none that connection tracking, which follows, looks at. */
export const notrack: Rule = [{ kind: 'notrack' }];
export const masquerade: Rule = [{ kind: 'masquerade' }];

export function goto(chain: string): Rule {
  return [{ kind: 'verdict', verdict: { goto: chain } }];
}

/** The chain goes on where that one ends without a verdict. */
export function jump(chain: string): Rule {
  return [{ kind: 'verdict', verdict: { jump: chain } }];
}

/** Drops the packet and tells the sender, whose program then need not wait. */
export const reject: Rule = [{ kind: 'reject', code: 'admin-prohibited' }];

/** Is true of the packet. A name may end in `*`, for all that begin so. */
export function iifname(name: string, op: '==' | '!=' = '=='): Rule {
  return meta('iifname', op, nameBytes(name));
}

export function oifname(name: string, op: '==' | '!=' = '=='): Rule {
  return meta('oifname', op, nameBytes(name));
}

/** linux/netfilter.h */
const NFPROTO_IPV4 = 2;
const NFPROTO_IPV6 = 10;

export const isIpv4: Rule = meta('nfproto', '==', Uint8Array.of(NFPROTO_IPV4));
export const isIpv6: Rule = meta('nfproto', '==', Uint8Array.of(NFPROTO_IPV6));
export const isNotIpv4: Rule = meta('nfproto', '!=', Uint8Array.of(NFPROTO_IPV4));

/** linux/if_ether.h, in frames, where there is no nfproto */
export const isIpv4Frame: Rule = meta('protocol', '==', Uint8Array.of(0x08, 0x00));
export const isArpFrame: Rule = meta('protocol', '==', Uint8Array.of(0x08, 0x06));

/** As {@link markFound} marks. */
export function isMarked(mark: number, op: '==' | '!=' = '=='): Rule {
  return meta('mark', op, hostInteger(mark));
}

/** Any of these bits of the mark is set; or, where `op` says so, none. */
export function isMarkedWith(mask: number, op: '==' | '!=' = '!='): Rule {
  return [
    { kind: 'meta', key: 'mark', into: KEY },
    { kind: 'bitwise', from: KEY, into: KEY, mask: hostInteger(mask) },
    { kind: 'cmp', from: KEY, op, value: hostInteger(0) },
  ];
}

/** linux/in.h */
const IPPROTO_ICMP = 1;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const IPPROTO_ICMPV6 = 58;

export const isIcmp: Rule = meta('l4proto', '==', Uint8Array.of(IPPROTO_ICMP));
export const isTcp: Rule = meta('l4proto', '==', Uint8Array.of(IPPROTO_TCP));
export const isUdp: Rule = meta('l4proto', '==', Uint8Array.of(IPPROTO_UDP));
export const isIcmpv6: Rule = meta('l4proto', '==', Uint8Array.of(IPPROTO_ICMPV6));

export function equals(part: Part, value: Uint8Array | Mac, op: '==' | '!=' = '=='): Rule {
  return [
    { kind: 'payload', ...PARTS[part], into: KEY },
    { kind: 'cmp', from: KEY, op, value },
  ];
}

/** The packet is for this port, of TCP or UDP; which of the two it is has to be asked before. */
export function isToPort(port: number): Rule {
  return equals('th dport', Uint8Array.of(port >>> 8, port & 255));
}

/** An address of the packet is of the prefix. */
export function isWithin(part: 'ip saddr' | 'ip daddr', { address, length }: Prefix): Rule {
  return [
    { kind: 'payload', ...PARTS[part], into: KEY },
    { kind: 'bitwise', from: KEY, into: KEY, mask: ipv4Bytes(maskOf(length)) },
    { kind: 'cmp', from: KEY, op: '==', value: ipv4Bytes(address) },
  ];
}

/** The packet belongs to a flow that conntrack knows, or reports an error in one. */
export const isEstablished: Rule = [
  { kind: 'ct', key: 'state', into: KEY },
  { kind: 'bitwise', from: KEY, into: KEY, mask: hostInteger(CT_STATE.established | CT_STATE.related) },
  { kind: 'cmp', from: KEY, op: '!=', value: hostInteger(0) },
];

/** The packet belongs to a flow whose destination was translated. */
export const isForwardedPort: Rule = [
  { kind: 'ct', key: 'status', into: KEY },
  { kind: 'bitwise', from: KEY, into: KEY, mask: hostInteger(CT_STATUS.dnat) },
  { kind: 'cmp', from: KEY, op: '!=', value: hostInteger(0) },
];

/** The flow keeps the packet's mark. */
export const keepMark: Rule = [
  { kind: 'meta', key: 'mark', into: KEY },
  { kind: 'ct set', key: 'mark', from: KEY },
];

/** The flow keeps this mark. */
export function isFlowMarked(mark: number): Rule {
  return [
    { kind: 'ct', key: 'mark', into: KEY },
    { kind: 'cmp', from: KEY, op: '==', value: hostInteger(mark) },
  ];
}

/** The packet gets the mark that its flow keeps. */
export const recallMark: Rule = [
  { kind: 'ct', key: 'mark', into: KEY },
  { kind: 'meta set', key: 'mark', from: KEY },
];

/** The packet does not say that it is from one of this host's own addresses. */
export const isSourceForeign: Rule = [
  { kind: 'fib', key: 'saddr type', into: KEY },
  { kind: 'cmp', from: KEY, op: '!=', value: hostInteger(ADDRESS_TYPE.local) },
];

/** The route back to the packet's source leaves by the link it came in on. */
export const isSourceBehindLink: Rule = [
  { kind: 'fib', key: 'saddr . iif', into: KEY },
  { kind: 'cmp', from: KEY, op: '==', value: hostInteger(1) },
];

/** RFC 9293, 3.1 */
const TCP_SYN = 0x02;

/**
 * Lowers the segment size that a TCP connection opens with to what the routes to both its ends carry, whichever way
 * the packet goes: a guest may believe in a larger MTU than its link has.
 */
export const clampSegmentSize: Rule = [
  ...isTcp,
  { kind: 'payload', ...PARTS['tcp flags'], into: KEY },
  { kind: 'bitwise', from: KEY, into: KEY, mask: Uint8Array.of(TCP_SYN) },
  { kind: 'cmp', from: KEY, op: '!=', value: Uint8Array.of(0) },
  { kind: 'rt', key: 'tcp mss', into: KEY },
  { kind: 'byteorder', from: KEY, into: KEY },
  { kind: 'tcp option set', option: 'maxseg', from: KEY },
];

/** The set has the key. */
export function isIn(key: readonly Field[], set: string): Rule {
  return [...load(key), { kind: 'lookup', set, from: KEY }];
}

export function isNotIn(key: readonly Field[], set: string): Rule {
  return [...load(key), { kind: 'lookup', set, from: KEY, invert: true }];
}

/** The verdict that the map has for the key, if it has one. */
export function decide(key: readonly Field[], map: string): Rule {
  return [...load(key), { kind: 'lookup', set: map, from: KEY, into: 'verdict' }];
}

/** The map has the key; what it gives is {@link found}. */
export function find(key: readonly Field[], map: string): Rule {
  return [...load(key), { kind: 'lookup', set: map, from: KEY, into: DATA }];
}

/**
 * The packet goes from one in a group to another in the same one; it has another mark then.
 *
 * @param groups map from the sender's address to its group
 * @param members set of destinations, each with its group
 */
export function isWithinGroup(groups: string, members: string): Rule {
  return [...find(['ip saddr'], groups), ...markFound(0), ...isIn(['ip daddr', 'mark'], members)];
}

/** The `index`th field of what {@link find} found, where each before it is of four bytes. */
function found(index: number): Register {
  return DATA + index;
}

export function markFound(index: number): Rule {
  return [{ kind: 'meta set', key: 'mark', from: found(index) }];
}

/** Writes what was found over a part of the packet and corrects the checksums. */
export function rewrite(part: keyof typeof CHECKSUMS, index: number): Rule {
  return [{ kind: 'payload set', from: found(index), ...PARTS[part], ...CHECKSUMS[part] }];
}

/** Is true of so many packets a second, after a first `burst`. */
export function atMost(rate: number, burst: number): Rule {
  return [{ kind: 'limit', rate, burst }];
}

/** The sender has sent so many packets a second, after a first `burst`, and no more. */
export function isBelow(limit: PacketLimit, sender: Field, senders: string): Rule {
  return [...load([sender]), { kind: 'limit per key', set: senders, from: KEY, ...limit }];
}

/** The sender has more than so many flows; each that is asked about is counted. */
export function hasFlowsOver(count: number, sender: Field, set: string): Rule {
  return [...load([sender]), { kind: 'flows per key', set, from: KEY, over: count }];
}

/**
 * Counts every packet, and hands the beginnings of some to those who listen: a flood must not drown them, nor one
 * sender's hide what others send.
 *
 * @param sender by which senders are told apart
 * @param senders set of those that have a limit of their own
 */
export function report(prefix: string, group: number, sender: Field, senders: string): Rule {
  return [
    ...counter,
    ...isBelow(SENDER_REPORTS, sender, senders),
    { kind: 'limit', ...REPORTS },
    { kind: 'log', group, prefix, snaplen: REPORT_SNAPLEN },
  ];
}

/** packets per second, and at first, of each sender and of all together */
const SENDER_REPORTS = { rate: 20, burst: 40 };
const REPORTS = { rate: 300, burst: 300 };
/** bytes: two headers of IP, the second one quoted, and those of TCP */
const REPORT_SNAPLEN = 128;

/** Fields side by side in registers, as they are in keys. */
function load(key: readonly Field[]): Expression[] {
  let into = KEY;
  return key.flatMap((field): Expression[] => {
    const at = into;
    if (typeof field === 'object') {
      into += 1;
      const mask = ipv4Bytes(maskOf(field.length));
      return [
        { kind: 'payload', ...PARTS[field.part], into: at },
        { kind: 'bitwise', from: at, into: at, mask },
      ];
    }
    into += field in PARTS ? Math.ceil(PARTS[field as Part].length / 4) : 1;
    if (field === 'iif' || field === 'oif' || field === 'mark' || field === 'l4proto')
      return [{ kind: 'meta', key: field, into: at }];
    return [{ kind: 'payload', ...PARTS[field], into: at }];
  });
}

function meta(key: MetaKey, op: '==' | '!=', value: Uint8Array): Rule {
  return [
    { kind: 'meta', key, into: KEY },
    { kind: 'cmp', from: KEY, op, value },
  ];
}

/** IFNAMSIZ, linux/if.h: the whole of it for a name, its beginning alone for a pattern. */
function nameBytes(name: string): Uint8Array {
  const isPattern = name.endsWith('*');
  const text = Buffer.from(isPattern ? name.slice(0, -1) : name);
  const bytes = new Uint8Array(isPattern ? text.length : 16);
  bytes.set(text);
  return bytes;
}

/** Shifts in JavaScript take their count modulo 32. */
function maskOf(length: number): Ipv4 {
  return (length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0) as Ipv4;
}

function hostInteger(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}
