import { randomBytes, randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { addIpv4, formatIpv4, parseIpv4 } from '../../src/addr/ipv4.ts';
import { parsePrefix } from '../../src/addr/prefix.ts';
import { systemClock } from '../../src/clock.ts';
import { followHosts, Hosts } from '../../src/cluster/hosts.ts';
import { HOSTS } from '../../src/cluster/keys.ts';
import { Member } from '../../src/cluster/member.ts';
import { openRegistry } from '../../src/cluster/open.ts';
import type { Registry } from '../../src/cluster/registry.ts';
import { DEFAULT_CLEAR_PORT } from '../../src/mesh/link.ts';
import { type MeshPeer, type PeerChange, Peers } from '../../src/mesh/peers.ts';
import { readPeer, writePublished } from '../../src/mesh/published.ts';
import { keyOf } from '../../src/plan/wireguard/key.ts';
import { percentile } from '../statistics.ts';
import { pause } from '../until.ts';
import { ThinRegistry } from './thin/registry.ts';

/*
 * Hosts without a kernel, many in one process, each with a connection of its own: `agents.ts PORT FIRST COUNT WHOLE`. The
 * first WHOLE of them are what a daemon is: its client of etcd, and all peers known. The rest have a place by the same
 * steps and keep it, over a client that is thin, and count whom they hear of: five thousand that know five thousand each
 * are more than a machine has memory and processors for. Each line is answered by one, of JSON:
 *
 *     join MS       all of them, evenly over so long
 *     known         how many hosts each knows, what it heard, and what the process has used
 *     since MS      the times, in ms since the epoch and after this one, at which each last heard of a host
 */

const RANGE = parsePrefix('10.0.0.0/8');
const UNIT = 22;
/** RFC 2544: of no machine */
const FIRST_ENDPOINT = parseIpv4('198.18.0.1');
/** ms, of a daemon's */
const TIMING = { alive_ms: 10_000, hold_ms: 600_000 };
/** Nobody asks how its members stand as it happens. */
const UNHEARD = { changed: () => undefined, leased: () => undefined };
/** ms after which who could not join tries again, as who starts its daemon would */
const AGAIN_MS = 1000;
/** Of one process: more would wait for each other, and not for etcd. */
const AT_ONCE = 24;
const ATTEMPTS = 600;

const [port = 0, first = 0, count = 0, whole = 0] = process.argv.slice(2).map(Number);

/** A process has one connection to one address: of the loopback each host has its own to ask at. */
const ADDRESSES = parseIpv4('127.16.0.1');

/** What one host has heard. */
type Agent = {
  readonly known: () => number;
  /** hosts told of, one by one */
  heard: number;
  /** of these, what became an edit of a peer */
  edits: number;
  /** ms since the epoch, when it last learnt of one, or that one is gone */
  learnedMs: number;
};

const agents: Agent[] = [];
const members: Member[] = [];
const joinsMs: number[] = [];
let failures = 0;

async function joinOne(index: number): Promise<void> {
  const address = `${formatIpv4(addIpv4(ADDRESSES, index))}:${port}`;
  const isWhole = index - first < whole;
  const thin = new ThinRegistry(address, 'bench/');
  const registry = isWhole ? openRegistry({ url: `etcd://${address}/bench` }, systemClock()) : thin;
  const name = `h${index}`;
  const reached = {
    address: addIpv4(FIRST_ENDPOINT, index),
    clearPort: DEFAULT_CLEAR_PORT,
    keys: [{ rotation: 0, publicKey: keyOf(randomBytes(32)), port: 51_820 }],
  };
  const published = writePublished({ ...reached, mtu: 1420, isDraining: false });
  const session = { id: randomUUID(), place: name };
  const request = {
    name,
    identity: randomUUID(),
    session,
    version: '0.1.0',
    range: RANGE,
    unit: UNIT,
    mtu: 1420,
    published,
  };
  const begin = performance.now();
  const parts = { registry, request, timing: TIMING, nowMs: () => performance.now(), ...UNHEARD };
  const member = await atLast(() => Member.join(parts));
  joinsMs.push(performance.now() - begin);
  members.push(member);
  const { subnet } = member.membership.host;
  agents.push(isWhole ? followWhole(registry, { name, subnet, ...reached, isOnLink: false }) : await countAll(thin));
}

/** Where etcd has no time for it, it is asked again. */
async function atLast<T>(body: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await body();
    } catch (error) {
      failures++;
      if (attempt === ATTEMPTS) throw error;
      await pause(AGAIN_MS);
    }
  }
}

function followWhole(registry: Registry, own: MeshPeer): Agent {
  const hosts = new Hosts();
  const peers = new Peers(UNIT, own);
  const agent: Agent = { known: () => peers.used.size + 1, heard: 0, edits: 0, learnedMs: 0 };
  const { signal } = new AbortController();
  void followHosts(
    registry,
    hosts,
    (changes) => {
      agent.heard += changes.length;
      const turned = changes.flatMap(({ name, host }): PeerChange[] => {
        const former = peers.used.get(name);
        if (host === undefined) return former === undefined ? [] : [{ name, peer: undefined }];
        const peer = readPeer(name, host.record.subnet, host.record.published, () => false);
        return JSON.stringify(peer) === JSON.stringify(former) ? [] : [{ name, peer }];
      });
      agent.edits += peers.take(turned).length;
      if (turned.length > 0) agent.learnedMs = Date.now();
    },
    signal,
  );
  return agent;
}

async function countAll(registry: ThinRegistry): Promise<Agent> {
  const hosts = { put: 0, deleted: 0 };
  const agent = { known: () => hosts.put - hosts.deleted, heard: 0, edits: 0, learnedMs: 0 };
  await atLast(() => registry.count(HOSTS, hosts, () => void (agent.learnedMs = Date.now())));
  return agent;
}

async function joinAll(spreadMs: number): Promise<object> {
  const begin = performance.now();
  let next = 0;
  const some = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const dueMs = begin + (spreadMs * index) / count - performance.now();
      if (dueMs > 0) await pause(dueMs);
      await joinOne(first + index);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  return { failures, p50Ms: percentile(joinsMs, 0.5), p95Ms: percentile(joinsMs, 0.95), endedMs: Date.now() };
}

function known(): object {
  const counts = agents.map((agent) => agent.known());
  const { user, system } = process.cpuUsage();
  const wholes = agents.filter(({ heard }) => heard > 0);
  return {
    least: Math.min(...counts),
    joined: members.filter(({ standing }) => standing.kind === 'joined').length,
    heard: Math.max(0, ...wholes.map(({ heard }) => heard)),
    edits: Math.max(0, ...wholes.map(({ edits }) => edits)),
    cpuMs: (user + system) / 1000,
    rss: process.memoryUsage.rss(),
  };
}

async function answer(line: string): Promise<object> {
  const [command, word = ''] = line.split(' ');
  switch (command) {
    case 'join':
      return joinAll(Number(word));
    case 'known':
      return known();
    case 'since':
      return agents.map(({ learnedMs }) => learnedMs).filter((ms) => ms > Number(word));
    default:
      throw new TypeError(`Unknown command ${line}`);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
