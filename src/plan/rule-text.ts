import { formatIpv4, type Ipv4 } from '../addr/ipv4.ts';
import { formatIpv6, ipv6Of } from '../addr/ipv6.ts';
import { formatMac, type Mac } from '../addr/mac.ts';
import {
  ADDRESS_TYPE,
  CT_STATE,
  CT_STATUS,
  type Expression,
  type FieldType,
  type MetaKey,
  type NamedSet,
  type PacketLimit,
  type Register,
  type Rule,
  type Span,
  type Verdict,
} from './ruleset.ts';

/*
 * Reads a rule the way the kernel runs it, with registers that hold words instead of values: what a comparison or a
 * look-up finds in its register is the left side of what nft(8) would say.
 */

type Held = { readonly words: string; readonly format: Format };
type Format = (bytes: Uint8Array) => string;
type Registers = Map<Register, Held>;

/** No register: what the rule has found the packet's protocol to be. */
const PROTOCOL = -1;

export function ruleText(rule: Rule, sets: ReadonlyMap<string, NamedSet>): string {
  const registers: Registers = new Map();
  return rule
    .map((expression) => expressionText(expression, registers, sets))
    .filter((words) => words !== '')
    .join(' ');
}

export function verdictText(verdict: Verdict): string {
  if (typeof verdict === 'string') return verdict;
  return 'goto' in verdict ? `goto ${verdict.goto}` : `jump ${verdict.jump}`;
}

function expressionText(expression: Expression, registers: Registers, sets: ReadonlyMap<string, NamedSet>): string {
  const held = (register: Register): Held => registers.get(register) ?? { words: `register ${register}`, format: hex };
  const load = (register: Register, words: string, format: Format = hex): string => {
    registers.set(register, { words, format });
    return '';
  };
  switch (expression.kind) {
    case 'meta':
      return load(expression.into, META[expression.key].words, META[expression.key].format);
    case 'payload': {
      const { words, format } = spanHeld(expression);
      const isIcmpv6 = words === 'icmp type' && registers.get(PROTOCOL)?.words === 'ipv6-icmp';
      return load(expression.into, isIcmpv6 ? 'icmpv6 type' : words, format);
    }
    case 'ct':
      return load(expression.into, `ct ${expression.key}`, CT_FORMATS[expression.key]);
    case 'ct set':
      return `ct mark set ${held(expression.from).words}`;
    case 'rt':
      return load(expression.into, 'rt mtu');
    case 'fib':
      return expression.key === 'saddr type'
        ? load(expression.into, 'fib saddr type', addressTypeText)
        : load(expression.into, 'fib saddr . iif oif', (bytes) => (bytes[0] === 0 ? 'missing' : 'exists'));
    case 'byteorder':
      return load(expression.into, held(expression.from).words);
    case 'bitwise': {
      const { words, format } = held(expression.from);
      if (BIT_FORMATS.has(format)) return load(expression.into, `${words} ${format(expression.mask)}`, oneOf);
      return load(expression.into, `${words} & ${format(expression.mask)}`, format);
    }
    case 'lookup':
      return lookupText(expression, registers, sets.get(expression.set), held);
    case 'cmp': {
      const { words, format } = held(expression.from);
      // nft says of a set of bits that one of them is there without naming the operation
      if (format === oneOf && expression.op === '!=') return words;
      const value = format(expression.value);
      if (words === META.l4proto.words && expression.op === '==') registers.set(PROTOCOL, { words: value, format });
      return expression.op === '==' && !words.includes('&')
        ? `${words} ${value}`
        : `${words} ${expression.op} ${value}`;
    }
    case 'meta set':
      return `meta mark set ${held(expression.from).words}`;
    case 'payload set':
      return `${spanHeld(expression).words} set ${held(expression.from).words}`;
    case 'tcp option set':
      return `tcp option maxseg size set ${held(expression.from).words}`;
    case 'verdict':
      return verdictText(expression.verdict);
    case 'counter':
      return 'counter';
    case 'limit':
      return limitText(expression);
    case 'limit per key': {
      const key = keyText(expression.from, sets.get(expression.set), held);
      return `update @${expression.set} { ${key} ${limitText(expression)} }`;
    }
    case 'flows per key': {
      const key = keyText(expression.from, sets.get(expression.set), held);
      return `add @${expression.set} { ${key} ct count over ${expression.over} }`;
    }
    case 'log':
      return `log prefix ${JSON.stringify(expression.prefix)} group ${expression.group} snaplen ${expression.snaplen}`;
    case 'masquerade':
      return 'masquerade';
    case 'reject':
      return `reject with icmpx ${expression.code}`;
    case 'notrack':
      return 'notrack';
  }
}

function limitText({ rate, burst }: PacketLimit): string {
  return `limit rate ${rate}/second burst ${burst} packets`;
}

function keyText(from: Register, set: NamedSet | undefined, held: (register: Register) => Held): string {
  return registersOf(set?.key ?? ['mark'], from)
    .map((register) => held(register).words)
    .join(' . ');
}

/** The fields of the key stand in registers of their own, one after the other, as the fields of the data will. */
function lookupText(
  lookup: Extract<Expression, { kind: 'lookup' }>,
  registers: Registers,
  set: NamedSet | undefined,
  held: (register: Register) => Held,
): string {
  const key = keyText(lookup.from, set, held);
  if (lookup.into === undefined) return `${key} ${lookup.invert === true ? '!= ' : ''}@${lookup.set}`;
  if (lookup.into === 'verdict') return `${key} vmap @${lookup.set}`;
  const data = set?.data === undefined || set.data === 'verdict' ? [] : set.data;
  for (const [index, register] of registersOf(data, lookup.into).entries()) {
    const part = data.length > 1 ? `[${data[index]}]` : '';
    registers.set(register, { words: `${key} map @${lookup.set}${part}`, format: hex });
  }
  return '';
}

function registersOf(types: readonly FieldType[], first: Register): Register[] {
  let next = first;
  return types.map((type) => {
    const register = next;
    next += REGISTERS[type] ?? 1;
    return register;
  });
}

/** of 32 bits, where a value takes more than one */
const REGISTERS: Readonly<Partial<Record<FieldType, number>>> = { ether_addr: 2, ipv6_addr: 4 };

const hex: Format = (bytes) => `0x${Buffer.from(bytes).toString('hex')}`;
const ipv4Text: Format = (bytes) => formatIpv4(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) as Ipv4);
const ipv6Text: Format = (bytes) => formatIpv6(ipv6Of(bytes));
const macText: Format = (bytes) => formatMac(bytes as Mac);
const networkInteger: Format = (bytes) => String(new DataView(bytes.buffer, bytes.byteOffset).getUint16(0));
const hostInteger: Format = (bytes) => String(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true));

/** A name that does not end in a zero is the beginning of one. */
const nameText: Format = (bytes) => {
  const end = bytes.indexOf(0);
  return JSON.stringify(Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end)).toString() + (end < 0 ? '*' : ''));
};

const oneOf: Format = (bytes) => hostInteger(bytes);

function bitsText(names: Readonly<Record<string, number>>): Format {
  return (bytes) => {
    const bits = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    return Object.entries(names)
      .filter(([, bit]) => (bits & bit) !== 0)
      .map(([name]) => name)
      .join(',');
  };
}

const CT_FORMATS = { state: bitsText(CT_STATE), status: bitsText(CT_STATUS), mark: hostInteger } as const;
const BIT_FORMATS: ReadonlySet<Format> = new Set([CT_FORMATS.state, CT_FORMATS.status]);

const addressTypeText: Format = (bytes) =>
  hostInteger(bytes) === String(ADDRESS_TYPE.local) ? 'local' : hostInteger(bytes);

/** linux/in.h */
export const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'ipv6-icmp' };

/** Bytes that have names of their own. */
function named(names: Readonly<Record<number, string>>): Format {
  return (bytes) => names[bytes[0] ?? 0] ?? String(bytes[0]);
}

const META = {
  iif: { words: 'iif', format: hostInteger },
  oif: { words: 'oif', format: hostInteger },
  iifname: { words: 'iifname', format: nameText },
  oifname: { words: 'oifname', format: nameText },
  nfproto: { words: 'meta nfproto', format: named({ 2: 'ipv4', 10: 'ipv6' }) },
  l4proto: { words: 'meta l4proto', format: named(PROTOCOLS) },
  protocol: {
    words: 'meta protocol',
    format: (bytes: Uint8Array) => ({ '0x0800': 'ip', '0x0806': 'arp', '0x86dd': 'ip6' })[hex(bytes)] ?? hex(bytes),
  },
  mark: { words: 'meta mark', format: hostInteger },
} as const satisfies Record<MetaKey, Held>;

/** Parts of headers by base, offset and length. */
const SPANS: Readonly<Record<string, Held>> = {
  'link 6 6': { words: 'ether saddr', format: macText },
  'network 6 2': {
    words: 'arp operation',
    format: (bytes) => ({ '0x0001': 'request', '0x0002': 'reply' })[hex(bytes)] ?? hex(bytes),
  },
  'network 8 6': { words: 'arp saddr ether', format: macText },
  'network 7 1': { words: 'ip6 hoplimit', format: named({}) },
  'network 8 16': { words: 'ip6 saddr', format: ipv6Text },
  'network 24 16': { words: 'ip6 daddr', format: ipv6Text },
  'network 12 4': { words: 'ip saddr', format: ipv4Text },
  'network 14 4': { words: 'arp saddr ip', format: ipv4Text },
  'network 24 4': { words: 'arp daddr ip', format: ipv4Text },
  'network 16 4': { words: 'ip daddr', format: ipv4Text },
  'transport 0 2': { words: 'th sport', format: networkInteger },
  'transport 2 2': { words: 'th dport', format: networkInteger },
  'transport 0 1': { words: 'icmp type', format: named({}) },
  'transport 13 1': { words: 'tcp flags', format: hex },
};

const RAW_BASES = { link: 'll', network: 'nh', transport: 'th' } as const;

function spanHeld({ base, offset, length }: Span): Held {
  const words = `@${RAW_BASES[base]},${offset * 8},${length * 8}`;
  return SPANS[`${base} ${offset} ${length}`] ?? { words, format: hex };
}
