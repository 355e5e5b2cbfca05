import { formatIp, type Ip, isIpv6, parseIp } from '../../addr/ip.ts';
import {
  formatIpPrefix,
  type IpInterface,
  type IpPrefix,
  ipPrefixAround,
  ipPrefixHas,
  parseIpInterface,
  parseIpPrefix,
} from '../../addr/ip-prefix.ts';
import { type Key, parseKey } from '../../plan/wireguard/key.ts';
import { clamped } from '../../plan/wireguard/private-key.ts';
import type { Dns } from './config.ts';
import { refuse, shown } from './refusal.ts';

/*
 * One value each: what is refused throws InputError `tunnel_config`, without a word on where. Numbers have no zeros before
 * them: of wg(8) and ip(8), one takes 010 for ten and the other for eight.
 */

const PORT_MAX = 65_535;
/** of a device's mark, and of a table's number */
const U32_MAX = 0xffff_ffff;
/** An unset key, to the device too. */
const NO_KEY = `${'A'.repeat(43)}=`;

export function readPrivateKey(text: string): Key {
  const key = readKey(text);
  return key === NO_KEY ? refuse('the PrivateKey is all zeros; make one with wg genkey') : clamped(key);
}

export function readPublicKey(text: string): Key {
  const key = readKey(text);
  return key === NO_KEY ? refuse("the PublicKey is all zeros; want the other side's, of wg pubkey") : key;
}

/** undefined where it says that there is none */
export function readPresharedKey(text: string): Key | undefined {
  const key = readKey(text);
  return key === NO_KEY ? undefined : key;
}

function readKey(text: string): Key {
  try {
    return parseKey(text);
  } catch {
    const why = text.length === 44 ? 'which are not 32 bytes in base64' : 'want 44';
    return refuse(`its key has ${text.length} characters, ${why}; copy it whole, up to the = at its end`);
  }
}

/** undefined where any will do */
export function readListenPort(text: string): number | undefined {
  const port = numberOf(text, PORT_MAX) ?? refuse(`${shown(text)} is no port; want 0 to ${PORT_MAX}, 0 for any`);
  return port === 0 ? undefined : port;
}

/** undefined where there is none */
export function readFwMark(text: string): number | undefined {
  if (text.toLowerCase() === 'off') return undefined;
  const mark = /^0x[0-9a-fA-F]{1,16}$/.test(text) ? Number(text) : numberOf(text, U32_MAX);
  if (mark === undefined || mark > U32_MAX) refuse(`${shown(text)} is no mark; want off, or up to 0xffffffff`);
  return mark === 0 ? undefined : mark;
}

/** seconds */
export function readKeepalive(text: string): number {
  if (text.toLowerCase() === 'off') return 0;
  return numberOf(text, PORT_MAX) ?? refuse(`${shown(text)} is no keepalive; want off, or 1 to 65535 seconds`);
}

export function readBoolean(text: string): boolean {
  const word = text.toLowerCase();
  if (word !== 'true' && word !== 'false') refuse(`${shown(text)} is neither true nor false`);
  return word === 'true';
}

/** bytes; whether it fits what is to go through is looked at when all is read */
export function readMtu(text: string): number | undefined {
  if (text === '') return undefined;
  return numberOf(text, U32_MAX) ?? refuse(`${shown(text)} is no MTU; want a number of bytes`);
}

/** One of the interface's own: a bare one is in no network. */
export function readAddress(text: string): IpInterface {
  const read = attempt(() => parseIpInterface(text));
  if (read === undefined) refuse(`${shown(text)} is no address; want one such as 10.0.0.2/24 or fd00::2/64`);
  if (NO_INTERFACES.some((prefix) => ipPrefixHas(prefix, read.address))) {
    refuse(`${formatIp(read.address)} is not an address that an interface may have`);
  }
  return read;
}

/** What no link but the loopback has: unspecified, loopback of IPv6, multicast, broadcast. */
const NO_INTERFACES = ['0.0.0.0/32', '224.0.0.0/4', '255.255.255.255/32', '::/127', 'ff00::/8'].map(parseIpPrefix);

/** A device ignores the host bits, and so does this. */
export function readAllowedIp(text: string): IpPrefix {
  if (text === '') refuse('it has nothing between two commas, or after the last one; take that comma out');
  const read = attempt(() => parseIpInterface(text));
  if (read === undefined) refuse(`${shown(text)} is no network; want one such as 10.0.0.0/8 or fd00::/64`);
  return ipPrefixAround(read.address, read.length);
}

/** Whatever looks like an address is a server, and the rest are domains, as wg-quick(8) takes them. */
export function readDns(entries: readonly string[]): Dns {
  const looksLikeIp = (entry: string): boolean => /^[0-9.]+$/.test(entry) || entry.includes(':');
  return {
    servers: entries.filter(looksLikeIp).map(readServer),
    search: entries.filter((entry) => !looksLikeIp(entry)).map(readDomain),
  };
}

function readServer(text: string): Ip {
  const zone = text.includes('%') ? ', without a zone' : '';
  return attempt(() => parseIp(text)) ?? refuse(`${shown(text)} is no address of a DNS server${zone}`);
}

function readDomain(text: string): string {
  return isHostName(text) ? text : refuse(`${shown(text)} is no domain to search in, and no address of a DNS server`);
}

/** Letters, digits, hyphens and underscores between dots. */
export function isHostName(text: string): boolean {
  const labels = text.replace(/\.$/, '').split('.');
  return text.length <= 254 && labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label));
}

/** Why an MTU is none, of what has these addresses and routes; undefined where it may be. */
export function mtuFault(mtu: number, uses: readonly (IpInterface | IpPrefix)[]): string | undefined {
  if (!Number.isInteger(mtu)) return `an MTU of ${mtu} is no number of bytes`;
  if (mtu > MTU_MAX) return `an MTU of ${mtu} is more than a packet may have; want at most ${MTU_MAX}`;
  if (mtu < MTU_MIN)
    return `an MTU of ${mtu} is less than IPv4 works with; want at least ${MTU_MIN}, or none to have it found`;
  const six = uses.find(({ address }) => isIpv6(address));
  if (six === undefined || mtu >= MTU_MIN_IPV6) return undefined;
  return `with an MTU of ${mtu} a link has no IPv6, which ${formatIpPrefix(six)} needs; want at least ${MTU_MIN_IPV6}`;
}

/** bytes */
const MTU_MAX = 65_535;
/** RFC 791 */
const MTU_MIN = 576;
/** RFC 8200: below it, Linux takes IPv6 from a link without a word */
const MTU_MIN_IPV6 = 1280;

/** Decimal; undefined where it is none, or more than that. */
export function numberOf(text: string, most: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,9})$/.test(text)) return undefined;
  return Number(text) <= most ? Number(text) : undefined;
}

/** The failure of another reader shows what it read, and that may be a key. */
export function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
