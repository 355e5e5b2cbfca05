import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { type Ip, parseIp } from '../../addr/ip.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { linkIndex } from '../../linux/route/ifreq.ts';
import type { Endpoint } from '../../plan/wireguard/device.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import type { HostPort, PeerConfig } from '../config/config.ts';
import { type MarkedLookup, markedLookup } from './marked-lookup.ts';

/** Where peers are, and why of some it is not known. */
export type Resolved = {
  readonly endpoints: ReadonlyMap<Key, Endpoint>;
  readonly unresolved: ReadonlyMap<Key, string>;
};

/** How long a resolver is waited for. */
const WAIT_MS = 10_000;

/**
 * Finds out where peers are; one of which that cannot be found out keeps no other from being known.
 *
 * @param socket of NETLINK_ROUTE, for zones
 * @param marked where a kill switch lets nobody else ask
 */
export async function resolveEndpoints(
  socket: NetlinkSocket,
  peers: readonly PeerConfig[],
  marked?: MarkedLookup,
): Promise<Resolved> {
  const endpoints = new Map<Key, Endpoint>();
  const unresolved = new Map<Key, string>();
  await Promise.all(
    peers.map(async ({ publicKey, endpoint }) => {
      if (endpoint === undefined) return;
      try {
        endpoints.set(publicKey, await resolveOne(socket, endpoint, marked));
      } catch (error) {
        unresolved.set(publicKey, error instanceof Error ? error.message : String(error));
      }
    }),
  );
  return { endpoints, unresolved };
}

/** @throws Error that says why */
async function resolveOne(
  socket: NetlinkSocket,
  { host, port }: HostPort,
  marked: MarkedLookup | undefined,
): Promise<Endpoint> {
  const [address = '', zone] = host.split('%');
  if (isIP(address) === 0) {
    return { address: marked === undefined ? await resolveName(host) : await markedLookup(host, marked), port };
  }
  if (zone === undefined) return { address: parseIp(address), port };
  const scopeId = linkIndex(socket, zone);
  if (scopeId === undefined) throw new Error(`${host}: there is no link ${zone}`);
  return { address: parseIp(address), port, scopeId };
}

async function resolveName(host: string): Promise<Ip> {
  const ended = new AbortController();
  const late = pause(WAIT_MS, undefined, { signal: ended.signal }).catch(() => undefined);
  try {
    const found = await Promise.race([lookup(host), late]);
    if (found !== undefined) return parseIp(found.address);
  } catch (error) {
    throw new Error(`${host} does not resolve: ${String((error as NodeJS.ErrnoException).code)}`, { cause: error });
  } finally {
    ended.abort();
  }
  throw new Error(`${host} does not resolve: no answer of the resolver in ${WAIT_MS / 1000} s`);
}
