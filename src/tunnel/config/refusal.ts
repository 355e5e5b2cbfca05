import { InputError } from '../../errors.ts';
import { plainText } from '../../plain-text.ts';

/** characters of a value that are shown */
const SHOWN = 60;
/** This many digits of base64 may be of a key. */
const KEY_PART = 20;

/** @param why what is wrong, and what to do, without a word on where */
export function refuse(why: string): never {
  throw new InputError('tunnel_config', why);
}

/** @param why as {@link refuse} has it */
export function refuseLine(line: number, why: string): never {
  throw inLine(line, why);
}

/** Says of what `read` refuses in which line it stands. */
export function atLine<T>(line: number, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw inLine(line, cause.message, cause);
  }
}

function inLine(line: number, why: string, cause?: unknown): InputError {
  return new InputError('tunnel_config', `Cannot read line ${line}: ${why}`, { field: `line ${line}`, cause });
}

/**
 * A value as a message may have it: what is not seen is made visible, and what may be a key that went astray, or a piece of
 * one, is not shown.
 */
export function shown(text: string): string {
  if (mayBeKey(text)) return 'what stands there (not shown, it may be a key)';
  return `"${plainText(text, SHOWN).replace(/(?! )\s/gu, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`)}"`;
}

function mayBeKey(text: string): boolean {
  const digits = text.replace(/[^A-Za-z0-9+/]/g, '');
  if (digits.length < KEY_PART) return false;
  // names of hosts are long too, but are cut by dots, and in one case
  return (/[A-Z]/.test(digits) && /[a-z]/.test(digits)) || /[A-Za-z0-9+/]{20}/.test(text.replace(/\s/gu, ''));
}
