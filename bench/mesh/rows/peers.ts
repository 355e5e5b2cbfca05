import { LabEtcd } from '../../../lab/etcd.ts';
import { LineProcess } from '../../../lab/line-process.ts';
import { Underlay } from '../../../lab/underlay.ts';
import { addIpv4, formatIpv4 } from '../../../src/addr/ipv4.ts';
import { formatPrefix, prefixesOverlap } from '../../../src/addr/prefix.ts';
import { DEFAULT_CLEAR_PORT } from '../../../src/mesh/link.ts';
import type { Endpoint, SeenPeer } from '../../../src/plan/wireguard/device.ts';
import type { Key } from '../../../src/plan/wireguard/key.ts';
import { Connection, getRequest } from '../../connection.ts';
import { formatNumber } from '../../figure.ts';
import type { Row } from '../../row.ts';
import { percentile } from '../../statistics.ts';
import { pause, until } from '../../until.ts';
import { ClusterDaemon } from '../cluster-daemon.ts';
import { MeshHost, PORT } from '../mesh-host.ts';
import { Sent } from '../sent.ts';
import { UNIT } from '../strangers.ts';

const CHANGER = new URL('../changer.ts', import.meta.url).pathname;
/** changes a second */
const RATE = 1000;
/** who asks how it is, again and again */
const READERS = 20;
/** ms between an answer and the next question of each */
const READ_PAUSE_MS = 50;
/** hosts that are really there, and of which nothing changes */
const UNTOUCHED = 3;
/** Units of the range from its end, that they have. */
const LAST_UNIT = 500;
const PATIENCE_MS = 60_000;
/** ms until what was sent has come */
const SETTLED_MS = 200;
/** ms between packets of each of them to the daemon's host */
const PACKET_MS = 20;

/**
 * A daemon whose registry tells of hosts that move and take other keys all the time. Some are real and send to it all
 * along; twenty clients ask it how it is:
 *
 *     h1 daemon, etcd ◄── changer: hosts that are only told of
 *       ▲ ▲ ▲
 *       h2 h3 h4 with WireGuard and no daemon
 */
export const peers: Row = {
  name: 'peers',
  summary: 'hosts that change 1,000 times a second, read by twenty clients',
  async run({ stage, scale }) {
    await using opened = new AsyncDisposableStack();
    const underlay = opened.use(new Underlay(1 + UNTOUCHED));
    const [place, ...others] = underlay.hosts;
    if (place === undefined) throw new Error('There are four');
    const etcd = opened.use(await LabEtcd.start({ on: place }));
    const registry = `etcd://${etcd.endpoints.join(',')}/bench`;
    const daemon = opened.use(new ClusterDaemon(place, registry, { unit: UNIT }));
    await daemon.ready();
    const changer = opened.use(new LineProcess(place.pin, process.execPath, [CHANGER, registry]));
    const real = others.map((one, index) => opened.use(new MeshHost(underlay, one, LAST_UNIT + index * 8)));
    if (real.some(({ peer }) => prefixesOverlap(peer.subnet, daemon.subnet))) throw new Error('They have one subnet');
    const itself = {
      name: place.name,
      subnet: daemon.subnet,
      address: place.address,
      clearPort: DEFAULT_CLEAR_PORT,
      isOnLink: false,
      keys: [{ rotation: 0, publicKey: daemon.publicKey, port: PORT }],
    };
    for (const host of real) {
      const { name, subnet } = host.peer;
      const publicKey = keyOf(host);
      const endpoint = `${formatIpv4(host.place.address)}:${PORT}`;
      await changer.ask(`real ${name} ${publicKey} ${endpoint} ${formatPrefix(subnet)}`);
      host.know(itself);
    }
    const taken = [daemon.subnet, ...real.map(({ peer }) => peer.subnet)].map(formatPrefix).join(',');
    await changer.ask(`publish ${scale.changingPeers} ${taken}`);
    const seen = (): ReadonlyMap<Key, SeenPeer> => daemon.see()?.peers ?? new Map();
    await until('the daemon has all peers', PATIENCE_MS, () => seen().size === scale.changingPeers + UNTOUCHED);
    const target = formatIpv4(addIpv4(daemon.subnet.address, 1));
    const senders = real.map(({ router }) =>
      opened.use(new LineProcess(router, 'ping', ['-q', '-n', '-i', String(PACKET_MS / 1000), target])),
    );
    const sent = opened.use(await Sent.listen(stage, daemon.pid));
    const untouched = (): (SeenPeer | undefined)[] => real.map((host) => seen().get(keyOf(host)));
    await until('the hosts that are there are heard', PATIENCE_MS, () =>
      untouched().every((peer) => (peer?.lastHandshakeMs ?? 0) > 0),
    );
    const before = untouched();
    const reading = read(daemon);
    const told = JSON.parse(await changer.ask(`change ${RATE} ${scale.churnMs}`)) as Told;
    const last = JSON.parse(await changer.ask('last')) as [Key, Endpoint][];
    const begin = performance.now();
    await until('the daemon has the last of all changes', PATIENCE_MS, () => hasAll(seen(), last));
    const behindMs = performance.now() - begin;
    const { latencies, failures } = await reading.end();
    const { edits } = await sent.end();
    // one that is gone and comes again is two, and so is one that has another key
    const needed = told.endpoints + 2 * told.keys;
    const after = untouched();
    await Promise.all(senders.map((sender) => sender.end('SIGINT')));
    await pause(SETTLED_MS);
    const received = untouched().map((peer) => peer?.received ?? 0);
    const lost = real.map((host, index) => sentTo(host, daemon.publicKey) - (received[index] ?? 0));
    const bytes = received.reduce((sum, count) => sum + count, 0);
    const figure = `${formatNumber((told.endpoints + told.keys) / (told.tookMs / 1000))} changes/s of ${scale.changingPeers} peers for ${Math.round(told.tookMs / 1000)} s`;
    const none = { unit: '', target: { of: 'value', is: 'at most', bound: 0 } } as const;
    const problems = (await daemon.client.status()).problems.length;
    return [
      {
        figure: `${figure}: edits of WireGuard sent`,
        value: edits,
        unit: '',
        reference: { name: 'one a change, two where a key is another', value: needed },
        ratio: edits / needed,
        target: { of: 'ratio', is: 'at most', bound: 1 },
      },
      {
        figure: `${figure}: errors told to ${READERS} readers of the status, problems at the end`,
        value: failures + problems,
        ...none,
      },
      {
        figure: `${figure}: handshakes lost or done anew by ${UNTOUCHED} peers that are left alone`,
        value: after.filter((peer, index) => peer?.lastHandshakeMs !== before[index]?.lastHandshakeMs).length,
        ...none,
      },
      {
        figure: `${figure}: bytes lost of ${formatNumber(bytes)} that they sent meanwhile`,
        value: lost.reduce((sum, count) => sum + count, 0),
        ...none,
      },
      {
        figure: `${figure}: GET /v1/status of ${latencies.length}, p50`,
        value: percentile(latencies, 0.5),
        unit: 'ms',
      },
      { figure: `${figure}: GET /v1/status, p99`, value: percentile(latencies, 0.99), unit: 'ms' },
      { figure: `${figure}: from the last change until WireGuard has it`, value: behindMs, unit: 'ms' },
    ];
  },
};

type Told = { readonly endpoints: number; readonly keys: number; readonly tookMs: number };

type Reading = { readonly latencies: readonly number[]; readonly failures: number };

/** Clients that ask a daemon how it is until they are told to end. */
function read({ socketPath }: ClusterDaemon): { end(): Promise<Reading> } {
  const latencies: number[] = [];
  let failures = 0;
  const ending = new AbortController();
  const request = getRequest('/v1/status');
  const reader = async (): Promise<void> => {
    using connection = await Connection.open(socketPath);
    while (!ending.signal.aborted) {
      const begin = performance.now();
      const { problems } = JSON.parse(await connection.ask(request)) as { problems: unknown[] };
      latencies.push(performance.now() - begin);
      failures += problems.length;
      await pause(READ_PAUSE_MS);
    }
  };
  const readers = Array.from({ length: READERS }, () => reader().catch(() => void failures++));
  return {
    end: async () => {
      ending.abort();
      await Promise.all(readers);
      return { latencies, failures };
    },
  };
}

function hasAll(seen: ReadonlyMap<Key, SeenPeer>, last: readonly (readonly [Key, Endpoint])[]): boolean {
  return last.every(([key, { address, port }]) => {
    const endpoint = seen.get(key)?.endpoint;
    return endpoint?.address === address && endpoint.port === port;
  });
}

/** bytes, of encrypted packets */
function sentTo(host: MeshHost, publicKey: Key): number {
  return host.tunnel.read().peers.get(publicKey)?.sent ?? 0;
}

function keyOf({ peer }: MeshHost): Key {
  const [key] = peer.keys;
  if (key === undefined) throw new Error('A host has a key');
  return key.publicKey;
}
