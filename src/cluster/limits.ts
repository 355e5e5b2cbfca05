import { CulvertError } from '../errors.ts';
import { type Condition, KEY_MAX, TRANSACTION_MAX, VALUE_MAX, type Write } from './registry.ts';

/**
 * What every implementation refuses before it asks.
 *
 * @throws CulvertError `registry_limit`
 */
export function assertWithinLimits(conditions: readonly Condition[], writes: readonly Write[]): void {
  if (conditions.length + writes.length > TRANSACTION_MAX) {
    refuse(`${conditions.length + writes.length} conditions and writes, more than ${TRANSACTION_MAX}`);
  }
  for (const { key } of [...conditions, ...writes]) {
    const bytes = Buffer.byteLength(key);
    if (bytes === 0 || bytes > KEY_MAX) refuse(`a key of ${bytes} bytes, want 1 to ${KEY_MAX}`);
  }
  for (const { key, value } of writes) {
    const bytes = Buffer.byteLength(value ?? '');
    if (bytes > VALUE_MAX) refuse(`${bytes} bytes for ${key}, more than ${VALUE_MAX}`);
  }
  if (new Set(writes.map(({ key }) => key)).size < writes.length) refuse('one key written twice');
}

function refuse(what: string): never {
  throw new CulvertError('registry_limit', `Cannot write to the registry: ${what}`);
}
