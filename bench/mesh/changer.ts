import { randomBytes, randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { addIpv4, type Ipv4, parseIpv4 } from '../../src/addr/ipv4.ts';
import { type Prefix, parsePrefix, prefixesOverlap } from '../../src/addr/prefix.ts';
import { systemClock } from '../../src/clock.ts';
import { CLUSTER, hostKey } from '../../src/cluster/keys.ts';
import { openRegistry } from '../../src/cluster/open.ts';
import { readCluster, writeHost } from '../../src/cluster/records.ts';
import { firstUnit, subnetAt, unitCount } from '../../src/cluster/subnets.ts';
import { DEFAULT_CLEAR_PORT } from '../../src/mesh/link.ts';
import { writePublished } from '../../src/mesh/published.ts';
import { type Key, keyOf, parseKey } from '../../src/plan/wireguard/key.ts';
import { pause } from '../until.ts';

/*
 * Hosts that are nothing but what they tell a registry, `changer.ts URL`. Each line is answered by one:
 *
 *     publish N TAKEN,…          N of them, in subnets that overlap none of those
 *     real NAME KEY ENDPOINT SUBNET   one that is there, which nothing is changed of
 *     change RATE MS             so many changes a second for so long; answers how many of endpoints and of keys there were,
 *                                and the ms that they took
 *     last                       what each tells now, as JSON: its key and its endpoint
 */

/** RFC 2544: of no machine */
const FIRST_ENDPOINT = parseIpv4('198.18.0.1');
/** Of so many changes of a host one is of its key. */
const KEY_EVERY = 4;
const TICK_MS = 5;
/** Writes that are on their way at a time. */
const PENDING_MAX = 64;

type Told = {
  readonly name: string;
  readonly subnet: Prefix;
  readonly identity: string;
  key: Key;
  endpoint: { readonly address: Ipv4; readonly port: number };
};

const [url = ''] = process.argv.slice(2);
const registry = openRegistry({ url }, systemClock());
const told: Told[] = [];

async function tell({ name, subnet, identity, key, endpoint }: Told): Promise<void> {
  const { address, port } = endpoint;
  const keys = [{ rotation: 0, publicKey: key, port }];
  const published = writePublished({ address, clearPort: DEFAULT_CLEAR_PORT, keys, mtu: 1420, isDraining: false });
  const value = writeHost({ identity, generation: 1, subnet, version: 'bench', published });
  await registry.commit([], [{ key: hostKey(name), value }]);
}

async function publish(count: number, taken: readonly Prefix[]): Promise<void> {
  const entry = await registry.get(CLUSTER);
  if (entry === undefined) throw new Error('There is no cluster');
  const plan = readCluster(entry.value);
  for (let index = 0; told.length < count && index < unitCount(plan); index++) {
    const subnet = subnetAt(plan, index, 1);
    if (taken.some((other) => prefixesOverlap(other, subnet))) continue;
    const endpoint = { address: addIpv4(FIRST_ENDPOINT, firstUnit(plan, subnet)), port: 51_820 };
    const name = `s${told.length + 1}`;
    told.push({ name, subnet, identity: randomUUID(), key: keyOf(randomBytes(32)), endpoint });
  }
  for (const one of told) await tell(one);
}

async function change(rate: number, durationMs: number): Promise<string> {
  const counts = { endpoints: 0, keys: 0 };
  const pending = new Set<Promise<void>>();
  const begin = performance.now();
  const all = Math.round((rate * durationMs) / 1000);
  for (let done = 0; done < all; ) {
    const due = Math.min(all, Math.floor(((performance.now() - begin) * rate) / 1000));
    for (; done < due; done++) {
      const host = told[done % told.length];
      if (host === undefined) throw new Error('Nothing was published');
      if (Math.floor(done / told.length) % KEY_EVERY === KEY_EVERY - 1) {
        host.key = keyOf(randomBytes(32));
        counts.keys++;
      } else {
        host.endpoint = { ...host.endpoint, port: 1024 + ((host.endpoint.port + 1) % 60_000) };
        counts.endpoints++;
      }
      const write = tell(host);
      pending.add(write);
      void write.finally(() => pending.delete(write));
      if (pending.size >= PENDING_MAX) await Promise.race(pending);
    }
    await pause(TICK_MS);
  }
  await Promise.all(pending);
  return JSON.stringify({ ...counts, tookMs: performance.now() - begin });
}

async function answer(line: string): Promise<string> {
  const [command, ...words] = line.split(' ');
  switch (command) {
    case 'publish': {
      await publish(
        Number(words[0]),
        (words[1] ?? '').split(',').map((text) => parsePrefix(text)),
      );
      return String(told.length);
    }
    case 'real': {
      const [name = '', key = '', endpoint = '', subnet = ''] = words;
      const [address = '', port] = endpoint.split(':');
      const at = { address: parseIpv4(address), port: Number(port) };
      await tell({ name, subnet: parsePrefix(subnet), identity: randomUUID(), key: parseKey(key), endpoint: at });
      return name;
    }
    case 'change':
      return change(Number(words[0]), Number(words[1]));
    case 'last':
      return JSON.stringify(told.map(({ key, endpoint }) => [key, endpoint]));
    default:
      throw new TypeError(`Unknown command ${line}`);
  }
}

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${await answer(line)}\n`);
