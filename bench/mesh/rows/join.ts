import { existsSync } from 'node:fs';
import { LabEtcd } from '../../../lab/etcd.ts';
import { Underlay } from '../../../lab/underlay.ts';
import { addIpv4 } from '../../../src/addr/ipv4.ts';
import { formatPrefix } from '../../../src/addr/prefix.ts';
import { NamespaceHandle } from '../../../src/linux/namespace.ts';
import { SOCK_CLOEXEC } from '../../../src/linux/netlink/constants.ts';
import { SOCK_DGRAM } from '../../../src/linux/notify-socket.ts';
import { AF_INET } from '../../../src/linux/route/constants.ts';
import { socketAddress } from '../../../src/linux/socket-address.ts';
import { close, connect, SyscallError, send, socket } from '../../../src/linux/syscall.ts';
import type { Row } from '../../row.ts';
import { percentile } from '../../statistics.ts';
import { pause, until } from '../../until.ts';
import { ClusterDaemon } from '../cluster-daemon.ts';

/** Hosts that are there already. */
const OTHERS = 5;
const PATIENCE_MS = 30_000;
const POLL_MS = 5;
/** discard, RFC 863 */
const PORT = 9;

/**
 * Daemons on hosts of their own, and the etcd that they agree in on the first one's. Again and again another one joins,
 * with a state folder that is new, and leaves for good:
 *
 *     h1 (etcd) ── h2 ── h3 ── h4 ── h5 ── h6, which comes and goes
 */
export const join: Row = {
  name: 'join',
  summary: 'a host joins a cluster of five, until it reaches all of them',
  async run({ scale }) {
    await using opened = new AsyncDisposableStack();
    const underlay = opened.use(new Underlay(OTHERS + 1));
    const [first] = underlay.hosts;
    const last = underlay.hosts.at(-1);
    if (first === undefined || last === undefined) throw new Error('There are six');
    const etcd = opened.use(await LabEtcd.start({ on: first }));
    const registry = `etcd://${etcd.endpoints.join(',')}/bench`;
    const others = underlay.hosts.slice(0, -1).map((place) => opened.use(new ClusterDaemon(place, registry)));
    await Promise.all(others.map((daemon) => daemon.ready()));
    await until('the others have ways to each other', PATIENCE_MS, () =>
      others.every((daemon) => daemon.see()?.peers.size === OTHERS - 1),
    );
    const reachedMs: number[] = [];
    const readyMs: number[] = [];
    for (let nth = 0; nth < scale.joins; nth++) {
      const begin = performance.now();
      using joining = new ClusterDaemon(last, registry);
      const ready = joining.ready().then(() => void readyMs.push(performance.now() - begin));
      await until('the host reaches all others', PATIENCE_MS, () => reaches(joining, others), POLL_MS);
      reachedMs.push(performance.now() - begin);
      await ready;
      await assertRoutes(joining, others);
      await joining.purge();
      const { publicKey } = joining;
      await until('nobody knows it any more', PATIENCE_MS, () =>
        others.every((daemon) => daemon.see()?.peers.has(publicKey) === false),
      );
      await pause(100);
    }
    const figure = `a host joins a cluster of ${OTHERS}, from the start of its daemon until a handshake with each is done`;
    return [
      { figure: `${figure}: p50`, value: percentile(reachedMs, 0.5) / 1000, unit: 's' },
      {
        figure: `${figure}: p95 of ${reachedMs.length}`,
        value: percentile(reachedMs, 0.95) / 1000,
        unit: 's',
        target: { of: 'value', is: 'at most', bound: 2 },
      },
      {
        figure: 'the same, until its daemon says that it is ready: p50',
        value: percentile(readyMs, 0.5) / 1000,
        unit: 's',
      },
    ];
  },
};

/** Sends something to each, so that there is a handshake, and says whether all have been done, on both sides. */
function reaches(joining: ClusterDaemon, others: readonly ClusterDaemon[]): boolean {
  if (!existsSync(joining.router)) return false;
  const seen = joining.see();
  if (seen === undefined || seen.peers.size < others.length) return false;
  const { publicKey } = joining;
  return others
    .map((other) => {
      const there = seen.peers.get(other.publicKey)?.lastHandshakeMs ?? 0;
      const back = other.see()?.peers.get(publicKey)?.lastHandshakeMs ?? 0;
      if (there === 0) knock(joining, other);
      return there > 0 && back > 0;
    })
    .every((isDone) => isDone);
}

function knock(from: ClusterDaemon, to: ClusterDaemon): void {
  using router = new NamespaceHandle(from.router);
  const fd = router.run(() => socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    connect(fd, socketAddress(addIpv4(to.subnet.address, 1), PORT), 'name who is sent to');
    send(fd, Uint8Array.of(0));
  } catch (error) {
    // there is no way yet
    if (!(error instanceof SyscallError)) throw error;
  } finally {
    close(fd);
  }
}

async function assertRoutes(joining: ClusterDaemon, others: readonly ClusterDaemon[]): Promise<void> {
  const ways = new Set(await joining.routes());
  const own = formatPrefix(joining.subnet);
  for (const other of others) {
    const isThere = ways.has(formatPrefix(other.subnet)) && (await other.routes()).includes(own);
    if (!isThere) throw new Error(`${joining.place.name} and ${other.place.name} have no route to each other`);
  }
}
