import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** How long the resolver is waited for. */
const WAIT_MS = 1000;

/** A resolver that does not answer holds one of few threads for as long: none is asked a second time meanwhile. */
const asked = new Map<string, Promise<string | undefined>>();

/**
 * What of endpoints has no address: an etcd that is not found is looked for elsewhere than one that does not answer.
 *
 * @param endpoints `host:port`
 * @returns `db-1 does not resolve: ENOTFOUND, db-2 …`; undefined where each has one
 */
export async function unresolved(endpoints: readonly string[]): Promise<string | undefined> {
  const hosts = endpoints.map((endpoint) => endpoint.replace(/:\d+$/, '')).filter((host) => isIP(host) === 0);
  const reasons = await Promise.all([...new Set(hosts)].map((host) => reasonOf(host)));
  const known = reasons.filter((reason) => reason !== undefined);
  return known.length === 0 ? undefined : known.join(', ');
}

/** undefined where it has an address */
async function reasonOf(host: string): Promise<string | undefined> {
  const ended = new AbortController();
  const found = asked.get(host) ?? ask(host);
  const late = pause(WAIT_MS, `no answer of the resolver in ${WAIT_MS} ms`, { signal: ended.signal }).catch(() => '');
  const reason = await Promise.race([found, late]);
  ended.abort();
  return reason === undefined ? undefined : `${host} does not resolve: ${reason}`;
}

async function ask(host: string): Promise<string | undefined> {
  const found = lookup(host)
    .then(
      () => undefined,
      (error: NodeJS.ErrnoException) => String(error.code),
    )
    .finally(() => void asked.delete(host));
  asked.set(host, found);
  return found;
}
