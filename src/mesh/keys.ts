import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { CulvertError } from '../errors.ts';
import { type Key, keyBytes, keyOf, parseKey } from '../plan/wireguard/key.ts';
import { readFileIfThere, writeWholeFile } from '../whole-file.ts';

/** What stands before the 32 bytes of an X25519 key in its encodings (RFC 8410): PKCS #8 for a private one. */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');

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

/** As `wg pubkey` does. */
export function publicKeyOf(privateKey: Key): Key {
  const der = Buffer.concat([PKCS8, keyBytes(privateKey)]);
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  return keyOf(new Uint8Array(key.export({ type: 'spki', format: 'der' }).subarray(-32)));
}

/** As the curve takes it (RFC 7748, 5), and the kernel gives it back: what is not would differ for ever. */
export function clamped(key: Key): Key {
  const bytes = keyBytes(key);
  bytes[0] = (bytes[0] ?? 0) & 248;
  bytes[31] = ((bytes[31] ?? 0) & 127) | 64;
  return keyOf(bytes);
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
