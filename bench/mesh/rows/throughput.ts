import { Underlay } from '../../../lab/underlay.ts';
import { addIpv4, formatIpv4 } from '../../../src/addr/ipv4.ts';
import type { MeshPeer } from '../../../src/mesh/peers.ts';
import type { Row } from '../../row.ts';
import { median, medianRatio } from '../../statistics.ts';
import { inTurns, type Path, stream } from '../../traffic.ts';
import { ByHand } from '../by-hand.ts';
import { MeshHost } from '../mesh-host.ts';
import { sandboxBehind } from '../sandbox-behind.ts';

const FIRST_PORT = 7500;
/** In a host's subnet: that of its sandbox. */
const SANDBOX = 16;

type End = { readonly router: string; readonly peer: MeshPeer };

/**
 * Two ways from one sandbox to another's host, over namespaces and links alike, both encrypted by wireguard-go:
 *
 *     sandbox ── router ── device ── eth0 ══ wire ══ eth0 ── device ── router ── sandbox
 */
export const throughput: Row = {
  name: 'throughput',
  summary: 'TCP between hosts over the mesh, against the same set up with wg and ip',
  async run({ scale }) {
    using made = new DisposableStack();
    const paths = [meshPath(made), await handPath(made)];
    let port = FIRST_PORT;
    const seconds = String(scale.streamMs / 1000);
    const [ours = [], byHand = []] = await inTurns(paths, scale.rounds, (path) =>
      stream(path, String(port++), seconds),
    );
    return [
      {
        figure: 'throughput, sandbox → sandbox of another host, TCP',
        value: median(ours),
        unit: 'Gbit/s',
        reference: { name: 'set up by hand', value: median(byHand) },
        ratio: medianRatio(ours, byHand),
        target: { of: 'ratio', is: 'at least', bound: 0.95 },
      },
    ];
  },
};

function meshPath(made: DisposableStack): Path {
  const underlay = made.use(new Underlay(2));
  const [one, other] = underlay.hosts.map((place, index) => made.use(new MeshHost(underlay, place, index)));
  if (one === undefined || other === undefined) throw new Error('There are two');
  one.know(other.peer);
  other.know(one.peer);
  return between('Culvert', underlay, made, [one, other]);
}

async function handPath(made: DisposableStack): Promise<Path> {
  const underlay = made.use(new Underlay(2));
  const ends: ByHand[] = [];
  for (const [index, place] of underlay.hosts.entries()) ends.push(made.use(await ByHand.make(underlay, place, index)));
  const [one, other] = ends;
  if (one === undefined || other === undefined) throw new Error('There are two');
  await one.know(other.peer);
  await other.know(one.peer);
  return between('by hand', underlay, made, [one, other]);
}

function between(name: string, underlay: Underlay, made: DisposableStack, ends: readonly [End, End]): Path {
  const places = underlay.hosts;
  const [host = '', sandbox = ''] = ends.map(({ router, peer }, index) => {
    const address = addIpv4(peer.subnet.address, SANDBOX);
    return sandboxBehind(underlay, made, { router, folder: places[index]?.folder ?? '', address });
  });
  return { name, host, sandbox, address: formatIpv4(addIpv4(ends[1].peer.subnet.address, SANDBOX)) };
}
