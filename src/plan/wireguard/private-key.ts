import { createPrivateKey, createPublicKey } from 'node:crypto';
import { type Key, keyBytes, keyOf } from './key.ts';

/** What stands before the 32 bytes of an X25519 key in its encodings (RFC 8410): PKCS #8 for a private one. */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');

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
