import { InputError } from '../../errors.ts';

declare const brand: unique symbol;

/** A Curve25519 key or a pre-shared one, 32 bytes, in the one way that base64 writes it (wg(8)). */
export type Key = string & { readonly [brand]: 'Key' };

const BYTES = 32;

/** @throws InputError `invalid_key`, which does not show the text: it may be a private key */
export function parseKey(text: string): Key {
  // the last digit holds four bits, so that two texts would mean one key
  if (/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text)) return text as Key;
  throw new InputError('invalid_key', `Cannot read a key of ${text.length} characters: want ${BYTES} bytes in base64`);
}

/** @param bytes 32 of them */
export function keyOf(bytes: Uint8Array): Key {
  if (bytes.length !== BYTES) throw new RangeError(`Cannot make a key of ${bytes.length} bytes`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, BYTES).toString('base64') as Key;
}

export function keyBytes(key: Key): Uint8Array {
  return Buffer.from(key, 'base64');
}

/** 64 hexadecimal digits, as the cross-platform user-space interface has it. */
export function keyHex(key: Key): string {
  return Buffer.from(key, 'base64').toString('hex');
}

/** @throws InputError `invalid_key` */
export function keyOfHex(hex: string): Key {
  const bytes = Buffer.from(hex, 'hex');
  if (bytes.length === BYTES) return keyOf(bytes);
  throw new InputError(
    'invalid_key',
    `Cannot read a key of ${hex.length} characters: want ${BYTES} bytes in hexadecimal`,
  );
}
