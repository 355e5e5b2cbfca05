import { execFileSync } from 'node:child_process';
import {
  createCipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';

/*
 * The first message of a WireGuard handshake, made by hand, so that it can bear any time: no program's clock can be set
 * without the machine's (WireGuard, 5.4.2).
 */

const CONSTRUCTION = 'Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s';
const IDENTIFIER = 'WireGuard v1 zx2c4 Jason@zx2c4.com';
/** of a Curve25519 key before its 32 bytes: RFC 8410 */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI = Buffer.from('302a300506032b656e032100', 'hex');
/** TAI64 of 1970 */
const TAI64 = 0x4000_0000_0000_000an;

const hash = (...parts: readonly (string | Buffer)[]): Buffer => {
  const digest = createHash('blake2s256');
  for (const part of parts) digest.update(part);
  return digest.digest();
};
const hmac = (key: Buffer, ...parts: readonly Buffer[]): Buffer => {
  const digest = createHmac('blake2s256', key);
  for (const part of parts) digest.update(part);
  return digest.digest();
};

function kdf(chain: Buffer, input: Buffer): readonly [chain: Buffer, key: Buffer] {
  const secret = hmac(chain, input);
  const first = hmac(secret, Buffer.of(1));
  return [first, hmac(secret, first, Buffer.of(2))];
}

function sealed(key: Buffer, text: Buffer, about: Buffer): Buffer {
  const cipher = createCipheriv('chacha20-poly1305', key, Buffer.alloc(12), { authTagLength: 16 });
  cipher.setAAD(about, { plaintextLength: text.length });
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

const publicBytes = (key: KeyObject): Buffer =>
  createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-32);

/**
 * @param privateKey of who begins, base64
 * @param to public key of whom it begins with, base64
 * @param ms since the epoch, that it says it was made at
 * @returns 148 bytes
 */
export function initiation(privateKey: string, to: string, ms: number): Uint8Array {
  const own = createPrivateKey({
    key: Buffer.concat([PKCS8, Buffer.from(privateKey, 'base64')]),
    format: 'der',
    type: 'pkcs8',
  });
  const peerBytes = Buffer.from(to, 'base64');
  const peer = createPublicKey({ key: Buffer.concat([SPKI, peerBytes]), format: 'der', type: 'spki' });
  const { privateKey: ephemeral } = generateKeyPairSync('x25519');
  const ephemeralBytes = publicBytes(ephemeral);

  let chain = hash(CONSTRUCTION);
  let about = hash(hash(chain, IDENTIFIER), peerBytes);
  let key: Buffer;
  [chain] = kdf(chain, ephemeralBytes);
  about = hash(about, ephemeralBytes);
  [chain, key] = kdf(chain, diffieHellman({ privateKey: ephemeral, publicKey: peer }));
  const hidden = sealed(key, publicBytes(own), about);
  about = hash(about, hidden);
  [chain, key] = kdf(chain, diffieHellman({ privateKey: own, publicKey: peer }));
  const stamp = Buffer.alloc(12);
  stamp.writeBigUInt64BE(TAI64 + BigInt(Math.floor(ms / 1000)));
  const time = sealed(key, stamp, about);

  const message = Buffer.concat([Buffer.of(1, 0, 0, 0, 1, 2, 3, 4), ephemeralBytes, hidden, time]);
  const macKey = hash('mac1----', peerBytes).toString('hex');
  const options = ['-macopt', `hexkey:${macKey}`, '-macopt', 'size:16', '-binary', 'BLAKE2SMAC'];
  const mac1 = execFileSync('openssl', ['mac', ...options], { input: message });
  return Buffer.concat([message, mac1, Buffer.alloc(16)]);
}
