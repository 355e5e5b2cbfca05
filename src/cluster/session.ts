import { CulvertError } from '../errors.ts';
import { readSession, type Session } from './records.ts';
import type { Entry } from './registry.ts';

/** Of a daemon: another one of the same identity is another machine with a copy of the state folder. */
export type OwnSession = Pick<Session, 'id' | 'place'>;

/**
 * Where the host is taken for there, whether the daemon that says so is this one, or one that has ended: of the same run
 * folder, which this one holds now.
 *
 * @throws CulvertError `host_identity_in_use`
 */
export function assertSameSession(name: string, own: OwnSession, entry: Entry): void {
  const { id, place } = readSession(entry.key, entry.value);
  if (id === own.id || place === own.place) return;
  const message = `Cannot be ${name}: a daemon with a copy of this state folder is there, on another machine or with another run folder; end that one, or give this one a state folder of its own`;
  throw new CulvertError('host_identity_in_use', message);
}
