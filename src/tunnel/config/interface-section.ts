import { formatIp, isIpv6 } from '../../addr/ip.ts';
import { formatIpPrefix, type IpInterface } from '../../addr/ip-prefix.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import type { Dns, Hooks } from './config.ts';
import { ADDRESSES_MAX, DNS_MAX, HOOK_MAX, HOOKS_MAX } from './limits.ts';
import { refuse } from './refusal.ts';
import { readAddress, readDns } from './values.ts';

/** `[Interface]` as it is being read, of one section or of several. */
export type InterfaceSection = {
  /** of the first */
  readonly line: number;
  privateKey: Key | undefined;
  listenPort: number | undefined;
  fwMark: number | undefined;
  /** and where they stand */
  readonly addresses: { readonly address: IpInterface; readonly line: number }[];
  dns: Dns;
  mtu: { readonly bytes: number | undefined; readonly line: number } | undefined;
  table: { readonly text: string; readonly line: number } | undefined;
  readonly hooks: { readonly [Phase in keyof Hooks]: string[] };
  saveConfig: boolean;
};

export function newInterfaceSection(line: number): InterfaceSection {
  return {
    line,
    privateKey: undefined,
    listenPort: undefined,
    fwMark: undefined,
    addresses: [],
    dns: { servers: [], search: [] },
    mtu: undefined,
    table: undefined,
    hooks: { preUp: [], postUp: [], preDown: [], postDown: [] },
    saveConfig: false,
  };
}

export function readAddresses({ addresses }: InterfaceSection, text: string, line: number): void {
  for (const address of wordsOf(text).map(readAddress)) {
    const other = addresses.find((one) => isSame(one.address, address));
    if (other !== undefined) refuse(`${formatIpPrefix(address)} is an address in line ${other.line} already`);
    addresses.push({ address, line });
    if (addresses.length > ADDRESSES_MAX) refuse(`there are more than ${ADDRESSES_MAX} addresses`);
  }
}

/** A link has an IPv6 address once, and an IPv4 address once of each length. */
function isSame(one: IpInterface, other: IpInterface): boolean {
  return isIpv6(one.address)
    ? isIpv6(other.address) && formatIp(one.address) === formatIp(other.address)
    : formatIpPrefix(one) === formatIpPrefix(other);
}

export function addDns(section: InterfaceSection, text: string): void {
  const { servers, search } = readDns(wordsOf(text));
  section.dns = { servers: [...section.dns.servers, ...servers], search: [...section.dns.search, ...search] };
  if (section.dns.servers.length + section.dns.search.length > DNS_MAX) {
    refuse(`there are more than ${DNS_MAX} DNS servers and domains`);
  }
}

export function addHook({ hooks }: InterfaceSection, phase: keyof Hooks, text: string): void {
  if (text === '') return;
  if (text.length > HOOK_MAX) refuse(`its command has ${text.length} characters, want at most ${HOOK_MAX}`);
  hooks[phase].push(text);
  if (hooks[phase].length > HOOKS_MAX) refuse(`there are more than ${HOOKS_MAX} such commands`);
}

/** wg-quick(8) takes blanks for commas, and many commas for one. */
function wordsOf(text: string): string[] {
  return text.split(/[,\t\r ]+/).filter((word) => word !== '');
}
