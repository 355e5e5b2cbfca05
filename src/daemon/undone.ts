import type { Store } from '../ipam/store.ts';
import type { Crew } from '../sandbox/crew/crew.ts';
import type { Manager } from '../sandbox/manager.ts';
import type { Reaper } from '../sandbox/reaper.ts';
import type { Status } from './engine.ts';

type Parts = { readonly manager: Manager; readonly reaper: Reaper; readonly crew: Crew; readonly store: Store };

/** What was begun and could not be done, for a person. */
export function undone({ manager, reaper, crew, store }: Parts): Status['problems'][number][] {
  const problems = reaper.stuck.map(({ key, reason }) => ({
    code: 'removal_stuck',
    message: `Cannot clear up slot ${key.slot}: ${reason}`,
  }));
  const { uncut, unwritten } = manager;
  if (uncut > 0) {
    const message = `Cannot cut off ${uncut} removed sandboxes; it is tried again`;
    problems.push({ code: 'cut_off_failed', message });
  }
  if (unwritten > 0) {
    const message = `Cannot write to ${store.path} that ${unwritten} sandboxes are given up; it is tried again`;
    problems.push({ code: 'store_behind', message });
  }
  if (store.failure !== undefined) {
    const { code, message } = store.failure;
    problems.push({ code, message });
  }
  if (crew.loss !== undefined) {
    const message = `Cannot work with two threads any more: ${crew.loss}; restart the daemon, the sandboxes run on`;
    problems.push({ code: 'helper_lost', message });
  }
  return problems;
}
