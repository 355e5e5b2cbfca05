import { createHash } from 'node:crypto';
import type { Ipv6 } from '../addr/ipv6.ts';
import type { Mac } from '../addr/mac.ts';

/*
 * A table of nftables as plain data. Rules are lists of the kernel's own expressions, each a step of a small register
 * machine: loads fill registers, comparisons and look-ups read them and end the rule where they miss. Words and numbers
 * are those of linux/netfilter/nf_tables.h; `ruleset-text.ts` renders them in the words of nft(8).
 */

/** `netdev` tables see the frames of single links, before anything else does; `ip` and `ip6` ones are others'. */
export type Family = 'inet' | 'ip' | 'ip6' | 'bridge' | 'netdev';

export type Table = { readonly family: Family; readonly name: string };

export type Ruleset = {
  readonly table: Table;
  readonly sets: readonly NamedSet[];
  readonly chains: readonly Chain[];
  readonly elements: readonly SetElements[];
};

/** What a field of a key or of data holds. `iface_index` and `mark` are in host order, the rest as on the wire. */
export type FieldType =
  | 'ipv4_addr'
  | 'ipv6_addr'
  | 'iface_index'
  | 'mark'
  | 'ether_addr'
  | 'icmp_type'
  | 'icmpv6_type'
  | 'inet_proto'
  | 'inet_service';

/** A MAC address for an `ether_addr`, an `Ipv6` for an `ipv6_addr`, an unsigned integer for everything else. */
export type Value = number | Mac | Ipv6;

export type NamedSet = {
  readonly name: string;
  /** more than one: their concatenation */
  readonly key: readonly FieldType[];
  /** makes it a map */
  readonly data?: readonly FieldType[] | 'verdict';
  /** a key is a range of addresses, which no two elements share */
  readonly interval?: boolean;
  /** Rules add elements, which go when none has named them for so many milliseconds. */
  readonly expiresMs?: number;
  /** Rules add elements, which go when none of the flows that each counts is left. */
  readonly counting?: boolean;
  /** how many elements it takes; of an interval set, ends of ranges */
  readonly size: number;
};

export type Element = {
  /** a value per field; of an interval the lowest */
  readonly key: readonly Value[];
  /** of an interval the highest, which belongs to it; absent, it is `key` */
  readonly last?: readonly Value[];
  readonly data?: readonly Value[] | Verdict;
  /** A look-up finds the element only for packets that are over this limit. */
  readonly over?: ByteLimit;
  /** at most {@link MAX_COMMENT_BYTES} */
  readonly comment?: string;
};

/** Bytes per second; what passes at once is `burst` bytes and one second's worth. */
export type ByteLimit = { readonly rate: number; readonly burst: number };

/** Packets per second, after a first `burst`. */
export type PacketLimit = { readonly rate: number; readonly burst: number };

/** NFT_USERDATA_MAXLEN less the header of an entry and the closing zero */
export const MAX_COMMENT_BYTES = 253;

export type SetElements = { readonly set: NamedSet; readonly elements: readonly Element[] };

export type Chain = {
  readonly name: string;
  /** where the kernel enters it; absent for one that is entered by goto and jump only */
  readonly base?: {
    readonly type: 'filter' | 'nat';
    readonly hook: Hook;
    /** lower runs earlier */
    readonly priority: number;
    /** what becomes of a packet that no rule decides */
    readonly policy: 'accept' | 'drop';
    /** the link it is bound to; at `ingress` only, and there it must be */
    readonly device?: string;
  };
  readonly rules: readonly Rule[];
};

export type Hook = 'ingress' | 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';

/** Runs from the left; an expression that misses ends it, and the next rule follows. */
export type Rule = readonly Expression[];

export type Verdict = 'accept' | 'drop' | { readonly goto: string } | { readonly jump: string };

/** One of sixteen registers of 32 bits; a longer value fills those that follow too. */
export type Register = number;

export type PayloadBase = 'link' | 'network' | 'transport';

/** `ct state` as a set of bits: NF_CT_STATE_BIT */
export const CT_STATE = { invalid: 1, established: 2, related: 4, new: 8 } as const;

/** `ct status` as a set of bits: linux/netfilter/nf_conntrack_common.h */
export const CT_STATUS = { snat: 16, dnat: 32 } as const;

export type MetaKey = 'iif' | 'oif' | 'iifname' | 'oifname' | 'nfproto' | 'l4proto' | 'protocol' | 'mark';

export type Expression =
  | { readonly kind: 'meta'; readonly key: MetaKey; readonly into: Register }
  | { readonly kind: 'meta set'; readonly key: 'mark'; readonly from: Register }
  | ({ readonly kind: 'payload'; readonly into: Register } & Span)
  /** Writes into the packet and corrects the checksum of the header it belongs to. */
  | ({
      readonly kind: 'payload set';
      readonly from: Register;
      /** bytes from the same base to the Internet checksum (RFC 1071) that covers what is written */
      readonly checksum: number;
      /** what is written is an address, which the checksums of TCP and UDP cover too */
      readonly pseudoHeader: boolean;
    } & Span)
  | { readonly kind: 'cmp'; readonly from: Register; readonly op: '==' | '!='; readonly value: Uint8Array }
  /** `(from & mask) ^ 0` */
  | { readonly kind: 'bitwise'; readonly from: Register; readonly into: Register; readonly mask: Uint8Array }
  /** A 16-bit value from host to network order. */
  | { readonly kind: 'byteorder'; readonly from: Register; readonly into: Register }
  /** Ends the rule where the set has no such key (where it has, when inverted); a map's data goes `into` a register. */
  | {
      readonly kind: 'lookup';
      readonly set: string;
      readonly from: Register;
      readonly into?: Register | 'verdict';
      readonly invert?: boolean;
    }
  | { readonly kind: 'verdict'; readonly verdict: Verdict }
  | { readonly kind: 'ct'; readonly key: 'state' | 'status' | 'mark'; readonly into: Register }
  /** Of the flow that the packet belongs to; nothing where connection tracking does not know it. */
  | { readonly kind: 'ct set'; readonly key: 'mark'; readonly from: Register }
  | { readonly kind: 'counter' }
  /** Ends the rule where more than `rate` packets a second came, after a first `burst`. */
  | ({ readonly kind: 'limit' } & PacketLimit)
  /** The same for each key by itself: it goes into a set with `expiresMs`, and misses where that is full. */
  | ({ readonly kind: 'limit per key'; readonly set: string; readonly from: Register } & PacketLimit)
  /**
   * Counts the flow by its key, in a set that is `counting`; ends the rule where the key has no more than `over` flows that
   * connection tracking knows.
   */
  | { readonly kind: 'flows per key'; readonly set: string; readonly from: Register; readonly over: number }
  /** Hands the packet's first `snaplen` bytes to the listeners of an NFLOG group. */
  | { readonly kind: 'log'; readonly group: number; readonly prefix: string; readonly snaplen: number }
  | { readonly kind: 'masquerade' }
  /** Drops the packet and tells its sender so by ICMP or ICMPv6; at `input`, `forward` and `output` only. */
  | { readonly kind: 'reject'; readonly code: 'admin-prohibited' }
  /** Before connection tracking, at a priority below -200: it does not look at the packet. */
  | { readonly kind: 'notrack' }
  /** The largest TCP segment that the routes to the packet's destination and back to its source carry. */
  | { readonly kind: 'rt'; readonly key: 'tcp mss'; readonly into: Register }
  /** Lowers the option to the 16-bit value, never raises it; ends the rule where the packet has none. */
  | { readonly kind: 'tcp option set'; readonly option: 'maxseg'; readonly from: Register }
  /**
   * `saddr . iif`, 1 or 0: whether the route back to the packet's source leaves by the link it came in on; `saddr type`,
   * what the source is to this host, as in {@link ADDRESS_TYPE}.
   */
  | { readonly kind: 'fib'; readonly key: 'saddr . iif' | 'saddr type'; readonly into: Register };

/** linux/rtnetlink.h, RTN_LOCAL */
export const ADDRESS_TYPE = { local: 2 } as const;

/** A part of a packet, in bytes. */
export type Span = { readonly base: PayloadBase; readonly offset: number; readonly length: number };

/** 32 hexadecimal digits that differ where two definitions do; a table keeps those that it was made from. */
export function rulesetDigest(ruleset: Ruleset): string {
  return createHash('sha256').update(exactText(ruleset)).digest('hex').slice(0, 32);
}

/** What {@link rulesetDigest} gives. */
export function isDigest(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

/** A text that differs where values of elements and rules do, those that JSON has no words for too. */
export function exactText(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Uint8Array) return [...part];
    return typeof part === 'bigint' ? `${part}n` : part;
  });
}
