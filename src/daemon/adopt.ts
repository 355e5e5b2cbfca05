import type { Store } from '../ipam/store.ts';
import { advance, listLeases } from '../ipam/transition.ts';
import type { Kernel } from '../linux/apply.ts';
import { inBrief } from '../sandbox/event.ts';
import type { Gate } from '../sandbox/gate.ts';
import { type Holding, holdingOf, isBuilt, isOwned, passOf, subjectOf } from '../sandbox/holding.ts';
import type { Manager } from '../sandbox/manager.ts';
import type { Reaper } from '../sandbox/reaper.ts';
import type { Survey } from '../sandbox/survey.ts';
import type { CulvertEvent } from './engine.ts';

export type AdoptParts = {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly survey: Survey;
  readonly gate: Gate;
  readonly reaper: Reaper;
  readonly manager: Manager;
  readonly emit: (event: Omit<CulvertEvent, 'sequence' | 'wallMs'>) => void;
  /** Is told what a person should see to. */
  readonly problem: (code: string, message: string) => void;
};

/**
 * Adopt first, sweep second: what matches a lease goes on undisturbed, what belongs to nobody is removed. What one
 * network lacks keeps no other from being adopted.
 *
 * @returns those that the last run had finished, by slot: nothing of them was looked at yet
 */
export function adopt(parts: AdoptParts): Holding[] {
  const { store, gate, reaper, manager } = parts;
  const leases = listLeases(store).map(holdingOf);
  // A removal that was under way goes on; so does a creation, with the lease it has.
  for (const holding of leases) if (holding.state === 'removing') reaper.add(holding);
  removeStrays(leases, parts);
  const worthy = withoutOutdated(leases, parts);
  const unfinished = worthy.filter((holding) => holding.state === 'creating' && canFinish(holding, parts));
  const finished = worthy.filter(({ state }) => state === 'warm' || state === 'ready');
  const passes = [...finished, ...unfinished].filter(isOwned).map(passOf);
  const repairs = gate.adopt(passes, unfinished.filter(isOwned).map(passOf));
  if (repairs.length > 0) {
    parts.emit({ type: 'host.repaired', message: `Put right in the router’s tables: ${inBrief(repairs)}` });
  }
  const settled = unfinished.map((holding) => ({ ...holding, state: isOwned(holding) ? 'ready' : 'warm' }) as const);
  store.transaction('normal', () => {
    for (const { key, state } of settled) advance(store, key, state);
  });
  for (const holding of [...finished, ...settled]) manager.adopt(holding);
  return finished;
}

/** What keeps one namespace from going must not keep the daemon from starting. */
function removeStrays(leases: readonly Holding[], { kernel, survey, problem }: AdoptParts): void {
  try {
    kernel.remove(survey.strayPlan(leases.filter(({ state }) => state !== 'quarantined')));
  } catch (error) {
    problem('strays_left', `Cannot remove what is nobody’s: ${reasonsOf(error)}`);
  }
}

/**
 * What waits for an owner with addresses of a range that the host had before goes: whoever got it would have them. All of
 * it in one transaction, so that none of it is left when others wait beside it.
 *
 * @returns the leases that stay as they are
 */
function withoutOutdated(leases: readonly Holding[], { store, survey, reaper }: AdoptParts): Holding[] {
  const outdated = new Set(survey.misled(leases.filter((holding) => isBuilt(holding) && !isOwned(holding))));
  if (outdated.size === 0) return [...leases];
  store.transaction('normal', () => {
    for (const { key } of outdated) advance(store, key, 'removing');
  });
  for (const holding of outdated) reaper.add({ ...holding, state: 'removing' });
  return leases.filter((holding) => !outdated.has(holding));
}

/** Builds what the last run had begun to. What cannot be built is given up: whoever asked for it has had no answer. */
function canFinish(holding: Holding, { store, kernel, survey, reaper, emit }: AdoptParts): boolean {
  try {
    kernel.apply(survey.sandboxPlan(holding));
    return true;
  } catch (error) {
    const message = `Gave up slot ${holding.key.slot}, whose network the last run had begun: ${reasonsOf(error)}`;
    store.transaction('normal', () => advance(store, holding.key, 'removing'));
    reaper.add({ ...holding, state: 'removing' });
    emit({ type: 'daemon.problem', message, ...subjectOf(holding) });
    return false;
  }
}

function reasonsOf(error: unknown): string {
  const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [error];
  return errors.map((one) => (one instanceof Error ? one.message : String(one))).join('; ');
}
