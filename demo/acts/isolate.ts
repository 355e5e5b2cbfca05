import { HOST_ADDRESS } from '../../lab/host.ts';
import { counted } from '../audit/kernel.ts';
import { isSoWithin } from '../pace.ts';
import type { Resident, Stage } from '../stage.ts';
import { answersAt, type Neighbours } from './reach.ts';

const PACKETS = 5;
/** ms to listen for echoes that must not come; whether the packets were stopped is told by counters, not by this */
const SILENCE_MS = 50;
const COUNT_PATIENCE_MS = 5000;

/** Link-local, where clouds keep what no sandbox may read. */
const METADATA_ADDRESS = '169.254.169.254';

/** Proves that no sandbox reaches another, whichever way it tries, nor what its policy does not name. */
export async function proveUnseen(stage: Stage, { outside, host }: Neighbours): Promise<void> {
  stage.narrator.act('Two sandboxes do not see each other');
  for (const topology of ['netns', 'microvm'] as const) {
    await proveDenied(stage, stage.resident(topology, 0), stage.resident(topology, 1));
  }
  await proveDenied(stage, stage.resident('microvm', 0), stage.resident('bridge', 0));
  await proveDenied(stage, stage.resident('bridge', 0), stage.resident('netns', 0));
  await proveApartOnBridge(stage, stage.resident('bridge', 0), stage.resident('bridge', 1));

  stage.narrator.act('Nor does a sandbox reach what its policy does not name');
  const sandbox = stage.resident('netns', 0);
  stage.lab.run('outside', 'ip', 'address', 'add', `${METADATA_ADDRESS}/32`, 'dev', 'lo');
  for (const [address, what, endpoint] of [
    [HOST_ADDRESS, 'the host’s own services', host],
    [METADATA_ADDRESS, 'link-local metadata', outside],
  ] as const) {
    await proveStopped(stage, {
      claim: `${sandbox.sandbox.id} does not reach ${what}`,
      sender: sandbox,
      to: address,
      received: () => endpoint.received(),
      counter: ['inet', 'denied'],
    });
  }
  await proveAllAnswer(stage, host);
}

async function proveDenied(stage: Stage, sender: Resident, { sandbox, endpoint }: Resident): Promise<void> {
  await proveStopped(stage, {
    claim: `${sender.sandbox.id} does not reach ${sandbox.id}`,
    sender,
    to: sandbox.hostAddress,
    received: () => endpoint.received(),
    counter: ['inet', 'denied'],
  });
}

/** On one bridge they share a wire: what is stopped there, and what goes round by the gateway, are two things. */
async function proveApartOnBridge(stage: Stage, sender: Resident, other: Resident): Promise<void> {
  const { lab } = stage;
  const { id, hostAddress, mac, gateway } = other.sandbox;
  const neighbour = ['dev', 'eth0', 'to', hostAddress, 'lladdr', mac, 'nud', 'permanent'];
  lab.run(sender.netns, 'ip', 'neighbour', 'add', ...neighbour);
  await proveStopped(stage, {
    claim: `${sender.sandbox.id} does not reach ${id} over the bridge they share, though it knows its MAC address`,
    sender,
    to: hostAddress,
    received: () => other.endpoint.received(),
  });
  lab.run(sender.netns, 'ip', 'neighbour', 'delete', ...neighbour.slice(0, 4));
  const detour = [`${hostAddress}/32`, 'via', gateway];
  lab.run(sender.netns, 'ip', 'route', 'add', ...detour);
  await proveStopped(stage, {
    claim: `${sender.sandbox.id} does not reach ${id} by way of the gateway either`,
    sender,
    to: hostAddress,
    received: () => other.endpoint.received(),
    counter: ['inet', 'denied'],
  });
  lab.run(sender.netns, 'ip', 'route', 'delete', ...detour);
}

type Attempt = {
  readonly claim: string;
  readonly sender: Resident;
  readonly to: string;
  /** A source address that is not the sender's. */
  readonly as?: string;
  /** What arrived where it was sent to. */
  readonly received: () => Promise<readonly { readonly from: string; readonly text: string }[]>;
  /** The rule that is to stop it, by its chain; absent where the bridge itself does, which counts nothing. */
  readonly counter?: readonly ['inet' | 'bridge', 'denied' | 'spoofed'];
};

let attempts = 0;

/** Sends packets that must not arrive, and shows that none did and which rule stopped every one. */
export async function proveStopped(stage: Stage, attempt: Attempt): Promise<void> {
  const { claim, sender, to, as, received, counter } = attempt;
  const { lab, daemon, narrator } = stage;
  const text = `attempt ${++attempts}`;
  const count = (): number => (counter === undefined ? 0 : counted(lab, daemon, ...counter));
  const before = count();
  const source = as === undefined ? {} : { from: as };
  const asked = await sender.endpoint.ask({ to, text, count: PACKETS, waitMs: SILENCE_MS, ...source });
  const expected = counter === undefined ? 0 : PACKETS;
  // Where it stays less, the proof says so.
  await isSoWithin(COUNT_PATIENCE_MS, () => count() - before >= expected);
  const arrived = (await received()).filter((datagram) => datagram.text.startsWith(text));
  const stopped = count() - before;
  narrator.prove({
    claim,
    done: `sent ${PACKETS} packets${as === undefined ? '' : ` as ${as}`} to ${to}`,
    seen: `${arrived.length} arrived${counter === undefined ? '' : `, ${stopped} were counted as ${counter[1]}`}`,
    observed: { arrived, echoes: asked.echoes, refused: asked.refused, stopped },
    expected: { arrived: [], echoes: [], refused: [], stopped: expected },
  });
}

/** What was tried has harmed nobody: those who heard nothing from their neighbours hear the host. */
export async function proveAllAnswer({ narrator, residents }: Stage, host: Neighbours['host']): Promise<void> {
  const answers = await Promise.all(residents.map(async (resident) => (await answersAt(resident, host)).echoes));
  const ids = residents.map(({ sandbox }) => sandbox.id);
  narrator.prove({
    claim: 'meanwhile each of them answers the host',
    done: `asked ${ids.length} sandboxes`,
    seen: `${answers.flat().length} echoes`,
    observed: answers.map((echoes) => [...new Set(echoes)]),
    expected: ids.map((id) => [id]),
  });
}
