import { createCold, createWarm, type Order, orderOf } from './acts/create.ts';
import { proveUnseen } from './acts/isolate.ts';
import { killAndRestart } from './acts/kill.ts';
import { moveIn, type Neighbours, proveReach } from './acts/reach.ts';
import { leaveNothing, removeAll } from './acts/remove.ts';
import { proveNoSpoofing } from './acts/spoof.ts';
import { start } from './acts/start.ts';
import { audit } from './audit/audit.ts';
import { EventWatch } from './event-watch.ts';
import type { Stage } from './stage.ts';

/** Parts of all sandboxes: from nothing, in the middle of which the daemon is killed, and out of the pool. */
const COLD = 0.5;
const KILLED = 0.3;

/** ms */
const PATIENCE_MS = 5000;

/** Tells it all, from nothing to nothing. @throws ProofError at the first claim that does not hold */
export async function tell(stage: Stage, sandboxes: number): Promise<void> {
  const orders = Array.from({ length: sandboxes }, (_, index) => orderOf(index));
  const cold = Math.ceil(sandboxes * COLD);
  const warm = cold + Math.ceil(sandboxes * KILLED);
  const before = await start(stage);
  const neighbours = await tellOfApartness(stage, orders.slice(0, cold));
  const traffic = await killAndRestart(stage, orders.slice(cold, warm), neighbours);
  await createWarm(stage, orders.slice(warm));
  stage.narrator.act('Look for losses, leaks and doubles');
  await traffic.proveWhole(stage);
  await audit(stage, 'after the kill');
  await removeAll(stage);
  await leaveNothing(stage, before);
}

/** What is told of sandboxes that nothing happens to. */
async function tellOfApartness(stage: Stage, orders: readonly Order[]): Promise<Neighbours> {
  await using events = new EventWatch(stage.daemon.client);
  await createCold(stage, orders);
  const told = await events.find(({ type }) => type === 'sandbox.created', PATIENCE_MS);
  if (told === undefined) throw new Error('The event stream told of no creation');
  const neighbours = await moveIn(stage);
  await proveReach(stage, neighbours);
  await proveUnseen(stage, neighbours);
  await proveNoSpoofing(stage, neighbours, events);
  return neighbours;
}
