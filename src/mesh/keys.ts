import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { CulvertError } from '../errors.ts';
import { type Key, keyOf, parseKey } from '../plan/wireguard/key.ts';
import { clamped } from '../plan/wireguard/private-key.ts';
import { readFileIfThere, writeWholeFile } from '../whole-file.ts';

/**
 * A key that all hosts share besides their own, as `wg genpsk` makes it.
 *
 * @throws CulvertError `key_file` where it cannot be read, others may read it, or it holds no key
 */
export function readPresharedKey(file: string): Key {
  try {
    assertSecret(file);
    return parseKey(readFileSync(file, 'utf8').trim());
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CulvertError('key_file', `Cannot use the pre-shared key in ${file}: ${why}`, { cause });
  }
}

/** As `wg genkey` does. */
export function generatePrivateKey(): Key {
  const { privateKey } = generateKeyPairSync('x25519');
  return keyOf(new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32)));
}

/**
 * The private key in a file, made where there is none: only its owner may read it, it is there whole or not at all, and
 * a boot does not lose it.
 *
 * @throws CulvertError `key_file` where it cannot be read or written, or holds no key; no message shows what it holds
 */
export function readPrivateKey(file: string): Key {
  try {
    const text = readFileIfThere(file);
    if (text !== undefined) {
      assertSecret(file);
      return clamped(parseKey(text.trim()));
    }
    const key = generatePrivateKey();
    writeWholeFile(file, `${key}\n`);
    return key;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const remedy = 'put back what it held, or remove it: then another one is made, and told to the others';
    throw new CulvertError('key_file', `Cannot use the private key in ${file}: ${why}; ${remedy}`, { cause });
  }
}

function assertSecret(file: string): void {
  const { mode } = statSync(file);
  if ((mode & 0o077) === 0) return;
  throw new Error(`others may read it, with mode ${(mode & 0o777).toString(8)}; chmod 600 it`);
}
