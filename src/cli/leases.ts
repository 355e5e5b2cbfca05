import type { LeaseResource } from '../api/client/client.ts';
import { printTable } from './output.ts';
import { agoText } from './time.ts';

/** A lease as it is told; a free slot has none, and is told of all the same. */
type Told = Omit<LeaseResource, 'generation'> & { readonly generation?: number };

const HEAD = ['SLOT', 'GEN', 'STATE', 'SANDBOX', 'TOPOLOGY', 'SINCE', 'WHY', 'FREE IN'];

export function printLeases(leases: readonly LeaseResource[]): void {
  const now = Date.now();
  printTable(
    HEAD,
    leases.map((lease) => [
      String(lease.slot),
      String(lease.generation),
      lease.state,
      lease.sandboxId ?? '-',
      lease.topology ?? '-',
      lease.sinceWallMs === undefined ? '-' : agoText(now - lease.sinceWallMs),
      lease.quarantine?.reason ?? '-',
      lease.quarantine === undefined ? '-' : dueText(lease.quarantine),
    ]),
  );
}

/** One lease in words: who, since when, why, until when. */
export function leaseSentence(lease: Told, nowWallMs: number): string {
  const { slot, state, sandboxId, topology, generation, sinceWallMs, quarantine } = lease;
  if (state === 'free') return `Slot ${slot} is free`;
  const since =
    sinceWallMs === undefined
      ? ''
      : ` since ${new Date(sinceWallMs).toISOString()} (${agoText(nowWallMs - sinceWallMs)})`;
  const life = `generation ${generation}, ${topology ?? 'no network'}`;
  const owner = sandboxId === undefined ? 'the warm pool' : `sandbox ${sandboxId}`;
  if (quarantine === undefined) return `Slot ${slot} is ${state}${since}, for ${owner} (${life})`;
  return `Slot ${slot} rests${since} after ${owner} (${life}): ${quarantine.reason}; free ${whenText(quarantine)}`;
}

type Quarantine = NonNullable<LeaseResource['quarantine']>;

function dueText({ dueInMs, flushVerified }: Quarantine): string {
  return flushVerified ? agoText(dueInMs) : `${agoText(dueInMs)}, after flush`;
}

function whenText({ dueInMs, flushVerified }: Quarantine): string {
  const time = dueInMs > 0 ? `in ${agoText(dueInMs)}` : 'soon';
  return flushVerified ? time : `${time} at the earliest, when no flow of it is left any more`;
}
