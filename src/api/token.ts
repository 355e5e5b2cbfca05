import { createHash, timingSafeEqual } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { InputError } from '../errors.ts';

/** Tells whether an Authorization header (RFC 6750) bears the token. */
export type TokenCheck = (header: string | undefined) => boolean;

/** bytes: what a token file may have at most */
const FILE_MAX = 1024;

/**
 * Reads the bearer token from a file that nobody but its owner can read.
 *
 * @throws InputError `token_file`, at `api.tcp.tokenFile`
 */
export function readToken(file: string): string {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    const { mode, uid, size } = fstatSync(descriptor);
    const permissions = (mode & 0o777).toString(8).padStart(4, '0');
    if ((mode & 0o077) !== 0) throw refused(file, `others may read it (mode ${permissions}), want 0600`);
    if (uid !== 0 && uid !== process.geteuid?.()) throw refused(file, `it belongs to user ${uid}`);
    if (size > FILE_MAX) throw refused(file, `it has ${size} bytes`);
    const token = readFileSync(descriptor, 'utf8').trim();
    if (!/^[A-Za-z0-9._~-]{32,512}$/.test(token)) {
      throw refused(file, 'want 32 to 512 characters of A-Z, a-z, 0-9, -, ., _ and ~');
    }
    return token;
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw refused(file, String((cause as NodeJS.ErrnoException).code ?? cause), cause);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** Compares digests, which have one length, in a time that does not depend on where they differ. */
export function tokenCheck(token: string): TokenCheck {
  const wanted = digest(token);
  return (header) => {
    const given = /^Bearer +([A-Za-z0-9._~-]{1,512})$/i.exec(header ?? '')?.[1];
    return timingSafeEqual(digest(given ?? ''), wanted) && given !== undefined;
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function refused(file: string, why: string, cause?: unknown): InputError {
  return new InputError('token_file', `Cannot read a token from ${file}: ${why}`, {
    field: 'api.tcp.tokenFile',
    cause,
  });
}
