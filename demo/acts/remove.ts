import type { LeaseResource, SandboxResource } from '../../src/api/client/client.ts';
import { audit } from '../audit/audit.ts';
import { type HostState, lookAtHost, namesIn } from '../audit/host.ts';
import { msText } from '../figures.ts';
import { pause, until } from '../pace.ts';
import { ProofError } from '../proof.ts';
import type { Stage } from '../stage.ts';
import { createOne, TOPOLOGIES } from './create.ts';

const PATIENCE_MS = 30_000;
const POLL_MS = 20;

/** Removes every sandbox at once, and watches where their addresses go. */
export async function removeAll(stage: Stage): Promise<void> {
  const { narrator, daemon, ledger, figures } = stage;
  const { client } = daemon;
  const sandboxes = ledger.held;
  narrator.act(`Remove all ${sandboxes.length}`);
  stage.moveOut();
  const begin = performance.now();
  await client.remove(sandboxes.map(({ id }) => id));
  const tookMs = performance.now() - begin;
  ledger.takeBack(sandboxes, begin);
  narrator.say(`all are cut off after ${msText(tookMs)}, in one request`);
  figures.add('remove', msText(tookMs), `${sandboxes.length} sandboxes in one request, until all are cut off`);

  for (const topology of TOPOLOGIES) await createOne(stage, { id: `${topology}-next`, topology });
  const again = ledger.held;
  narrator.prove({
    claim: 'who comes next gets none of their addresses',
    done: `created ${again.map(({ id }) => id).join(', ')}`,
    seen: again.map(({ hostAddress }) => hostAddress).join(', '),
    observed: again.filter((one) => sandboxes.some(({ hostAddress }) => hostAddress === one.hostAddress)),
    expected: [],
  });
  const removedMs = performance.now();
  await client.remove(again.map(({ id }) => id));
  ledger.takeBack(again, removedMs);

  await proveQuarantine(stage, sandboxes, begin);
  await until(async () => isQuiet(await client.leases()), PATIENCE_MS, 'what was removed to be cleared up');
  figures.add('remove, kernel cleared', msText(performance.now() - begin), 'and every address out of quarantine');
  await audit(stage, 'after the removal');
}

function isQuiet(leases: readonly LeaseResource[]): boolean {
  return leases.every(({ state }) => state === 'warm');
}

/** Looks at the leases again and again until all addresses are free, and at how long each was not. */
async function proveQuarantine(
  { narrator, daemon, quarantineFloorMs }: Stage,
  sandboxes: readonly SandboxResource[],
  beginMs: number,
): Promise<void> {
  const lives = new Map(sandboxes.map(({ slot, generation }) => [slot, generation]));
  const quarantined = new Set<number>();
  const restedMs: number[] = [];
  for (const deadline = performance.now() + PATIENCE_MS; lives.size > 0; await pause(POLL_MS)) {
    if (performance.now() > deadline) throw stuck([...lives.keys()]);
    const leases = new Map((await daemon.client.leases()).map((lease) => [lease.slot, lease]));
    // At the latest now: so a slow look can only make the time longer.
    const nowMs = performance.now() - beginMs;
    for (const [slot, generation] of lives) {
      const lease = leases.get(slot);
      if (lease?.generation === generation && lease.state === 'quarantined') quarantined.add(slot);
      if (lease?.generation === generation) continue;
      lives.delete(slot);
      restedMs.push(nowMs);
    }
  }
  const shortestMs = Math.min(...restedMs);
  narrator.prove({
    claim: 'every address rests in quarantine before it is free',
    done: 'watched GET /v1/leases until all were free',
    seen: `${quarantined.size} seen in quarantine, the first free ${msText(shortestMs)} after the removal, floor ${quarantineFloorMs} ms`,
    observed: { freedTooEarly: restedMs.filter((ms) => ms < quarantineFloorMs) },
    expected: { freedTooEarly: [] },
  });
}

function stuck(slots: readonly number[]): ProofError {
  return new ProofError({
    claim: 'every address that was let go of is free again in time',
    done: `watched GET /v1/leases for ${msText(PATIENCE_MS)}`,
    seen: `${slots.length} are not`,
    observed: slots.map((slot) => `slot ${slot} is still leased`),
    expected: [],
  });
}

/** Purges, and compares the host with what it was before there was a daemon. */
export async function leaveNothing(stage: Stage, before: HostState): Promise<void> {
  const { narrator, daemon, lab } = stage;
  narrator.act('culvert down --purge');
  const pid = daemon.pid;
  daemon.run('down', '--purge');
  const code = await daemon.ended();
  const left = { host: lookAtHost(lab), pins: namesIn(daemon.pins), code };
  narrator.prove({
    claim: 'the host is as it was before there was a daemon',
    done: 'compared ip -j address, route, rule, nft -j list ruleset and forwarding settings with those at the start',
    seen: `links ${left.host.links.join(' and ')}, no table, no pin, process ${pid} ended with ${code}`,
    observed: left,
    expected: { host: before, pins: [], code: 0 },
  });
}
