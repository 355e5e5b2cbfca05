import { CulvertError, InputError } from '../errors.ts';
import { EPOCH } from './keys.ts';
import { type EpochRecord, readEpoch, writeEpoch } from './records.ts';
import { isAway, type Registry, type Revision } from './registry.ts';

/** How often it begins anew because others wrote what it had read. */
const ATTEMPTS = 5;
/** How often it is tried where the registry does not answer, as while one of its members is replaced by another. */
const TRIES = 4;
const AGAIN_MS = 500;

/** Of a cluster in which nobody has wished for another. @param mtu bytes, of what its first host takes */
export function firstEpoch(mtu: number): EpochRecord {
  const keys = { rotation: 0, rotatedWallMs: 0 };
  return { number: 0, phase: 'done', encrypts: true, whenDown: 'wait', ...keys, mtu, formerMtu: mtu };
}

export type WrittenEpoch = { readonly record: EpochRecord; readonly revision: Revision };

/** What somebody wants of the mesh; what is absent stays as it is. */
export type Wish = {
  readonly encrypts?: boolean;
  readonly whenDown?: EpochRecord['whenDown'];
  /** new keys on all hosts */
  readonly rotates?: boolean;
  /** bytes of the IP packets that sandboxes may send to those of other hosts */
  readonly mtu?: number;
};

type AssertMay = (current: EpochRecord) => void | Promise<void>;

/** @throws CulvertError `cluster_absent` where there is none; `registry_*` */
export async function currentEpoch(registry: Registry): Promise<EpochRecord> {
  const { record } = await epochAsWritten(registry);
  return record;
}

/** The same, and when it was written. */
export async function epochAsWritten(registry: Registry): Promise<WrittenEpoch> {
  const entry = await registry.get(EPOCH);
  if (entry === undefined) {
    const message = `Cannot tell how hosts send to each other: the registry ${registry.name} has no ${EPOCH}; put back what it had, or where an older Culvert made the cluster, make a new one under another prefix`;
    throw new CulvertError('cluster_absent', message);
  }
  return { record: readEpoch(entry.value), revision: entry.revision };
}

/**
 * Writes what is wished for, as the next epoch; every host goes there step by step. One that is under way goes on to the
 * new one from where it is.
 *
 * @param assertMay throws where the wish may not follow that epoch; what it reads was written after that was
 * @returns the epoch that leads there, the current one where that is as wished
 * @throws InputError `epoch_under_way` where keys are to be changed while another change is not done, or the MTU to
 *   one that is not between its ends
 * @throws CulvertError `cluster_busy`; `registry_*`
 */
export async function beginEpoch(
  registry: Registry,
  wish: Wish,
  wallMs: number,
  assertMay: AssertMay = () => undefined,
): Promise<EpochRecord> {
  let rotation: number | undefined;
  for (let attempt = 1; ; attempt++) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const current = await currentEpoch(registry);
      // the keys that were to come are there already
      if (wish.rotates === true && rotation !== undefined && current.rotation > rotation) return current;
      ({ rotation } = current);
      // oxlint-disable-next-line no-await-in-loop -- likewise
      return await writeWish(registry, wish, wallMs, assertMay);
    } catch (error) {
      // what a member took that is gone since is read again: it may have been written, and then it is as wished
      if (!isAway(error) || attempt === TRIES) throw error;
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await new Promise((resolve) => void setTimeout(resolve, AGAIN_MS));
    }
  }
}

async function writeWish(registry: Registry, wish: Wish, wallMs: number, assertMay: AssertMay): Promise<EpochRecord> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { record: current, revision } = await epochAsWritten(registry);
    const next = nextEpoch(current, wish, wallMs);
    if (next === current) return current;
    // oxlint-disable-next-line no-await-in-loop -- likewise
    await assertMay(current);
    const condition = { key: EPOCH, revision };
    // oxlint-disable-next-line no-await-in-loop -- likewise
    const written = await registry.commit([condition], [{ key: EPOCH, value: writeEpoch(next) }]);
    if (written !== undefined) return next;
  }
  const message = `Cannot change the mesh: others wrote what was read, ${ATTEMPTS} times in a row`;
  throw new CulvertError('cluster_busy', message);
}

/** @throws InputError `epoch_under_way` */
export function nextEpoch(current: EpochRecord, wish: Wish, wallMs: number): EpochRecord {
  const { encrypts = current.encrypts, whenDown = current.whenDown, rotates = false, mtu = current.mtu } = wish;
  const isAsWished = encrypts === current.encrypts && whenDown === current.whenDown && mtu === current.mtu;
  if (!rotates && isAsWished) return current;
  if (rotates && current.phase !== 'done') {
    const message = `Cannot change the keys: epoch ${current.number} is under way, in phase ${current.phase}; wait until it is done, see culvert mesh status`;
    throw new InputError('epoch_under_way', message);
  }
  const { number, rotation, rotatedWallMs } = current;
  return {
    number: number + 1,
    phase: 'accept',
    encrypts,
    whenDown,
    rotation: rotates ? rotation + 1 : rotation,
    rotatedWallMs: rotates ? wallMs : rotatedWallMs,
    mtu,
    formerMtu: formerMtu(current, mtu),
  };
}

/** While a change is under way, a host may be at either of its ends: both stay within what others take and send. */
function formerMtu({ number, phase, mtu, formerMtu: former }: EpochRecord, next: number): number {
  if (phase === 'done' || mtu === former) return mtu;
  if (next === mtu) return former;
  // back, as it came
  if (next === former) return mtu;
  if (next < Math.min(mtu, former)) return Math.max(mtu, former);
  const message = `Cannot change the MTU to ${next}: epoch ${number} is under way, in phase ${phase}, from ${former} to ${mtu}; wait until it is done, see culvert mesh status, or go back to ${former}`;
  throw new InputError('epoch_under_way', message);
}
