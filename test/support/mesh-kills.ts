import type { MeshBody } from '../../src/api/client/client.ts';
import type { HostDaemon } from './host-daemon.ts';
import type { KillLab } from './kill-lab.ts';

/** A change of how hosts send, and which of the two leads it. */
type Change = { readonly name: string; readonly wish: MeshBody; readonly leads: HostDaemon };

/** To be killed after a step is to be killed before the next one; where CULVERT_KILLS is `all` both are tried. */
const WHEN = process.env['CULVERT_KILLS'] === 'all' ? ['before', 'after'] : ['before'];

/** Every point up to the last that {@link tried} says was still reached. */
async function atEach(tried: (at: string) => Promise<boolean>): Promise<void> {
  for (let nth = 1, isReached = true; isReached; nth++) {
    isReached = false;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    for (const when of WHEN) isReached = (await tried(`${when} ${nth}`)) || isReached;
  }
}

/**
 * Makes the changes one after the other, again and again, and kills the daemon that was asked for each at its first step,
 * then at its second, until a change has no such step. After each kill the daemon is started again and all is looked at.
 *
 * @returns how often it was killed, by the name of the change
 */
export async function killAtEach(lab: KillLab, changes: readonly Change[]): Promise<ReadonlyMap<string, number>> {
  const killed = new Map(changes.map(({ name }) => [name, 0]));
  const whole = new Set<string>();
  await atEach(async (at) => {
    for (const { name, wish, leads } of changes) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await lab.victim.kill();
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await lab.start({ begin: 'wish', at });
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await lab.settled(`before ${name} killed ${at}`);
      lab.leads(leads);
      const { number } = lab.epoch();
      // oxlint-disable-next-line no-await-in-loop -- likewise
      if (await lab.wish(wish)) killed.set(name, (killed.get(name) ?? 0) + 1);
      // what was not begun last time is as wished already
      else if (lab.epoch().number > number) whole.add(name);
    }
    return whole.size < changes.length;
  });
  await lab.victim.kill();
  await lab.start();
  await lab.settled('in the end');
  return killed;
}

/**
 * Has the daemon join as for the first time, kills it at its first step, then at its second, until a start has no such step,
 * and has it leave for good each time.
 *
 * @param check what is to hold when it is there after all
 * @returns how often it was killed
 */
export async function killAtEachJoin(lab: KillLab, check: () => Promise<void>): Promise<number> {
  let killed = 0;
  await atEach(async (at) => {
    await lab.start({ begin: 'start', at });
    const wasKilled = await lab.comesUp();
    if (wasKilled) killed++;
    // and not at a later step of something else
    await lab.victim.kill();
    await lab.start();
    await lab.settled(`join killed ${at}`);
    await check();
    await lab.leave();
    return wasKilled;
  });
  return killed;
}
