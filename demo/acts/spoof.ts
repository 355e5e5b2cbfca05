import { OUTSIDE_ADDRESS } from '../../lab/host.ts';
import { counted } from '../audit/kernel.ts';
import type { EventWatch } from '../event-watch.ts';
import { isSoWithin } from '../pace.ts';
import type { Resident, Stage } from '../stage.ts';
import { proveAllAnswer, proveStopped } from './isolate.ts';
import type { Neighbours } from './reach.ts';

const PATIENCE_MS = 5000;
/** Index of `eth0` in every sandbox. */
const ETH0 = 2;

/** Proves that no sandbox can send as another, by IP or by ARP, and that the daemon tells who tried. */
export async function proveNoSpoofing(stage: Stage, neighbours: Neighbours, events: EventWatch): Promise<void> {
  stage.narrator.act('Two sandboxes cannot pretend to be each other');
  for (const topology of ['netns', 'microvm', 'bridge'] as const) {
    const sender = stage.resident(topology, 0);
    const victim = stage.resident(topology, 1);
    await proveNotAs(stage, sender, victim, neighbours);
    await proveTold(stage, events, sender, victim);
  }
  await proveNoClaim(stage, stage.resident('bridge', 0), stage.resident('bridge', 1));
  await proveAllAnswer(stage, neighbours.host);
}

/** Its own root gives a sandbox another's address; it still sends nothing from it. */
async function proveNotAs(stage: Stage, sender: Resident, victim: Resident, { outside }: Neighbours): Promise<void> {
  const address = victim.sandbox.hostAddress;
  const borrowed = ['address', 'add', `${address}/32`, 'dev', 'lo'];
  stage.lab.run(sender.netns, 'ip', ...borrowed);
  await proveStopped(stage, {
    claim: `${sender.sandbox.id} cannot send as ${victim.sandbox.id}`,
    sender,
    as: address,
    to: OUTSIDE_ADDRESS,
    received: () => outside.received(),
    counter: [sender.sandbox.topology === 'bridge' ? 'bridge' : 'inet', 'spoofed'],
  });
  stage.lab.run(sender.netns, 'ip', ...borrowed.with(1, 'delete'));
}

async function proveTold({ narrator }: Stage, events: EventWatch, sender: Resident, victim: Resident): Promise<void> {
  const { id } = sender.sandbox;
  const address = victim.sandbox.hostAddress;
  const event = await events.find(
    ({ type, sandboxId, data }) => type === 'sandbox.spoofed' && sandboxId === id && data?.['address'] === address,
    PATIENCE_MS,
  );
  narrator.prove({
    claim: 'and an event names both',
    done: 'listened to GET /v1/events',
    seen: event?.message ?? 'nothing',
    observed: { told: event !== undefined, namesVictim: event?.message.includes(victim.sandbox.id) },
    expected: { told: true, namesVictim: true },
  });
}

/** The failure that made others' connections flap: two on one bridge that claim one address by ARP. */
async function proveNoClaim({ narrator, lab, daemon }: Stage, sender: Resident, victim: Resident): Promise<void> {
  const { id, mac, gateway } = sender.sandbox;
  const claimed = [victim.sandbox.hostAddress, gateway];
  const neighbour = (): string =>
    lab.run(daemon.pin('router'), 'ip', '-j', 'neighbour', 'show', 'to', victim.sandbox.hostAddress, 'dev', 'rt0');
  const before = { count: counted(lab, daemon, 'bridge', 'spoofed'), neighbour: neighbour() };
  for (const address of claimed) await sender.endpoint.claim(address, ETH0, mac);
  const stopped = (): number => counted(lab, daemon, 'bridge', 'spoofed') - before.count;
  // Where it stays less, the proof says so.
  await isSoWithin(PATIENCE_MS, () => stopped() >= claimed.length);
  const after = neighbour();
  narrator.prove({
    claim: `${id} cannot claim the address of ${victim.sandbox.id}, nor the gateway’s`,
    done: `announced ${claimed.join(' and ')} by ARP from ${mac}`,
    seen: `${stopped()} were counted as spoofed, and the router has ${victim.sandbox.mac} for ${victim.sandbox.hostAddress} as before`,
    observed: { stopped: stopped(), neighbour: after, isVictims: after.includes(victim.sandbox.mac) },
    expected: { stopped: claimed.length, neighbour: before.neighbour, isVictims: true },
  });
}
