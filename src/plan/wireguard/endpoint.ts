import { formatIp, isIpv6 } from '../../addr/ip.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parseIpv6 } from '../../addr/ipv6.ts';
import { InputError } from '../../errors.ts';
import type { Endpoint } from './device.ts';

/** An address of IPv6 has brackets, and in them a link's index where it needs one. */
const SHAPE = /^(?:\[([^\]%]+)(?:%(0|[1-9]\d{0,9}))?\]|([^[:]+)):(0|[1-9]\d{0,4})$/;
const PORT_MAX = 0xffff;
const SCOPE_MAX = 0xffffffff;

/**
 * Reads `192.0.2.1:51820`, `[2001:db8::1]:51820` or `[fe80::1%3]:51820`; no names.
 *
 * @throws InputError `invalid_endpoint`, `invalid_ipv4`, `invalid_ipv6`
 */
export function parseEndpoint(text: string): Endpoint {
  const [, bracketed, scope = '0', plain = '', digits] = SHAPE.exec(text) ?? [];
  const [scopeId, port] = [Number(scope), Number(digits)];
  if (!(port <= PORT_MAX && scopeId <= SCOPE_MAX)) {
    const message = `Cannot read ${JSON.stringify(text)} as an endpoint: want an address and a port, as in 192.0.2.1:51820 or [2001:db8::1]:51820`;
    throw new InputError('invalid_endpoint', message);
  }
  const address = bracketed === undefined ? parseIpv4(plain) : parseIpv6(bracketed);
  return scopeId === 0 ? { address, port } : { address, port, scopeId };
}

/** In the words of {@link parseEndpoint}, which are those of wg(8). */
export function formatEndpoint({ address, port, scopeId }: Endpoint): string {
  if (!isIpv6(address)) return `${formatIp(address)}:${port}`;
  return `[${formatIp(address)}${scopeId === undefined ? '' : `%${scopeId}`}]:${port}`;
}

export function sameEndpoint(one: Endpoint | undefined, other: Endpoint | undefined): boolean {
  return one?.address === other?.address && one?.port === other?.port && one?.scopeId === other?.scopeId;
}
