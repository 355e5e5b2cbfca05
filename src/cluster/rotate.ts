import { epochAsWritten, nextEpoch } from './epoch.ts';
import { EPOCH } from './keys.ts';
import { type EpochRecord, writeEpoch } from './records.ts';
import type { Registry } from './registry.ts';

/**
 * Has all hosts change their keys, as the next epoch, if the registry still has the one that was judged. Of several hosts
 * that judge the same one does it.
 *
 * @returns undefined where it has another by now, or that one is not done
 * @throws CulvertError `cluster_absent`, `registry_*`
 */
export async function rotateFrom(
  registry: Registry,
  { number }: Pick<EpochRecord, 'number'>,
  wallMs: number,
): Promise<EpochRecord | undefined> {
  const { record: current, revision } = await epochAsWritten(registry);
  if (current.number !== number || current.phase !== 'done') return undefined;
  const next = nextEpoch(current, { rotates: true }, wallMs);
  const condition = { key: EPOCH, revision };
  const written = await registry.commit([condition], [{ key: EPOCH, value: writeEpoch(next) }]);
  return written === undefined ? undefined : next;
}
