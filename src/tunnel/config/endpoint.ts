import { formatIp, parseIp } from '../../addr/ip.ts';
import { ipPrefixHas, parseIpPrefix } from '../../addr/ip-prefix.ts';
import type { HostPort } from './config.ts';
import { refuse, shown } from './refusal.ts';
import { attempt, isHostName, numberOf } from './values.ts';

const LINK_LOCAL = parseIpPrefix('fe80::/10');

/**
 * Reads `host:port`, `[host]:port`, and as wg(8) does `2001:db8::1:51820`, of which the last number is the port.
 *
 * @throws InputError `tunnel_config`
 */
export function readEndpoint(text: string): HostPort {
  const [, bracketed, bare, digits] = /^(?:\[([^\]]*)\]|(.*)):([^:]*)$/.exec(text) ?? [];
  const host = bracketed ?? bare;
  if (host === undefined || digits === undefined) {
    refuse(`${shown(text)} has no port; want an endpoint such as vpn.example.com:51820 or [2001:db8::1]:51820`);
  }
  const port = numberOf(digits, 65_535);
  if (port === undefined || port === 0) refuse(`${shown(digits)} is no port of an endpoint; want 1 to 65535`);
  return { host: readHost(host), port };
}

export function formatEndpoint({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What ends in a number is an address or nothing: others read `10.1` and `0x7f.1` as one too. */
function readHost(text: string): string {
  if (text.includes(':')) return readIpv6(text);
  if (!/(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$/i.test(text)) {
    return isHostName(text) ? text : refuse(`${shown(text)} is no host of an endpoint; want its name or its address`);
  }
  const address = attempt(() => parseIp(text));
  return formatIp(address ?? refuse(`${shown(text)} is no IPv4 address of an endpoint; want four octets, 0 to 255`));
}

function readIpv6(text: string): string {
  const [, digits = '', zone] = /^([^%]*)(?:%(.*))?$/.exec(text) ?? [];
  const address = attempt(() => parseIp(digits));
  if (address === undefined) refuse(`${shown(text)} is no IPv6 address of an endpoint; want [2001:db8::1]:51820`);
  if (zone === undefined) return formatIp(address);
  if (!/^[a-zA-Z0-9_=+.-]{1,15}$/.test(zone))
    refuse(`${shown(zone)} is no zone of an address; want the name of a link`);
  if (!ipPrefixHas(LINK_LOCAL, address)) refuse(`${shown(text)} has a zone, which only a link-local address has`);
  return `${formatIp(address)}%${zone}`;
}
