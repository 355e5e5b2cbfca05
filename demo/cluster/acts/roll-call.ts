import { DatagramSocket } from '../../../lab/datagram.ts';
import { parseIpv4 } from '../../../src/addr/ipv4.ts';
import { NamespaceHandle } from '../../../src/linux/namespace.ts';
import { counted } from '../../audit/kernel.ts';
import { isSoWithin, pause } from '../../pace.ts';
import type { ClusterStage, Placed } from '../stage.ts';

const PORT = 9000;
const ANY = parseIpv4('0.0.0.0');
const PATIENCE_MS = 5000;
/** Groups are told from host to host in far less, and so is what a queue has lost sent again. */
const ROUNDS = 10;
/** Sent at once; then it is waited for a moment, so that no queue overflows. */
const BURST = 60;

type Person = Placed & { readonly ear: DatagramSocket; readonly mouth: DatagramSocket };

/**
 * Has each of these sandboxes call each other, and proves that it is heard by those of its group, on whatever host, and by
 * nobody else.
 */
export async function proveApart(stage: ClusterStage, who: readonly Placed[], when: string): Promise<void> {
  using stack = new DisposableStack();
  const people = who.map((placed) => {
    using namespace = new NamespaceHandle(placed.sandbox.netns);
    const open = (port: number): DatagramSocket =>
      stack.use(namespace.run(() => new DatagramSocket({ address: ANY, port })));
    return { ...placed, ear: open(PORT), mouth: open(0) };
  });
  const denied = (): number =>
    stage.hosts.reduce((sum, { daemon }) => sum + counted(stage.underlay, daemon, 'inet', 'denied'), 0);
  const before = denied();
  const calls = people.flatMap((from) => people.filter((to) => to !== from).map((to) => ({ from, to })));
  const wanted = calls.filter(({ from, to }) => areOfOneGroup(from, to));
  const unwanted = calls.filter(({ from, to }) => !areOfOneGroup(from, to));
  const heard = new Set<string>();
  await callAll(unwanted);
  // Where it stays less, the proof says so.
  await isSoWithin(PATIENCE_MS, () => denied() - before >= unwanted.length);
  const stopped = denied() - before;
  // of these some may be denied until groups are told from host to host
  let missing = wanted;
  for (let round = 0; round < ROUNDS && missing.length > 0; round++) {
    await callAll(missing);
    await isSoWithin(PATIENCE_MS / ROUNDS, () => {
      for (const { sandbox, ear } of people) for (const text of ear.received()) heard.add(`${text} > ${sandbox.id}`);
      missing = missing.filter((call) => !heard.has(textOf(call)));
      return missing.length === 0;
    });
  }
  const right = new Set(wanted.map(textOf));
  const far = wanted.filter(({ from, to }) => from.host !== to.host).length;
  stage.narrator.prove({
    claim: `each sandbox reaches those of its group, on whatever host, and nobody else does${when}`,
    done: `had each of ${people.length} call each other, ${calls.length} calls`,
    seen: `${wanted.length} within groups were heard, ${far} of them on another host; ${stopped} others were counted as denied, none was heard`,
    observed: { missing: missing.map(textOf), strangers: [...heard].filter((text) => !right.has(text)), stopped },
    expected: { missing: [], strangers: [], stopped: unwanted.length },
  });
}

type Call = { readonly from: Person; readonly to: Person };

async function callAll(calls: readonly Call[]): Promise<void> {
  for (let begin = 0; begin < calls.length; begin += BURST) {
    for (const { from, to } of calls.slice(begin, begin + BURST)) {
      from.mouth.send({ address: parseIpv4(to.sandbox.hostAddress), port: PORT }, Buffer.from(from.sandbox.id));
    }
    await pause(1);
  }
}

function textOf({ from, to }: Call): string {
  return `${from.sandbox.id} > ${to.sandbox.id}`;
}

function areOfOneGroup({ sandbox: one }: Placed, { sandbox: other }: Placed): boolean {
  return one.group !== undefined && one.group === other.group;
}
