import { FILE_MAX, LINES_MAX } from './limits.ts';
import { atLine, refuse, shown } from './refusal.ts';

type SectionName = 'Interface' | 'Peer';

/** What a line says, by the rules that wg-quick(8) and wg(8) share. */
export type Statement = { readonly line: number; readonly section: SectionName } | Setting;

export type Setting = { readonly line: number; readonly key: string; readonly value: string };

/** A byte order mark, as some editors begin a file. */
const MARK = '\u{feff}';
const BLANK = ' \t\r';

/**
 * The lines that say something. What follows a `#` is a comment, in a hook too, and may hold anything but a NUL; a line
 * ends with LF or CRLF.
 *
 * @throws InputError `tunnel_config`
 */
export function readLines(text: string): Statement[] {
  const size = Buffer.byteLength(text);
  if (size > FILE_MAX) refuse(`Cannot read the config: it has ${size} bytes, want at most ${FILE_MAX}`);
  const lines = (text.startsWith(MARK) ? text.slice(MARK.length) : text).split('\n');
  if (lines.length > LINES_MAX) {
    refuse(`Cannot read the config: it has ${lines.length} lines, want at most ${LINES_MAX}`);
  }
  return lines.flatMap((one, index) => atLine(index + 1, () => readLine(one, index + 1)));
}

/** Without blanks anywhere, as wg(8) takes all that is its own. */
export function tight(text: string): string {
  return text.replace(/[ \t\r]/g, '');
}

function readLine(whole: string, line: number): Statement[] {
  if (whole.includes('\0')) refuse('it has a NUL character, so that this is no text; write the file anew as UTF-8');
  const hash = whole.indexOf('#');
  const text = trimmed(hash < 0 ? whole : whole.slice(0, hash));
  if (text === '') return [];
  // oxlint-disable-next-line no-control-regex -- what a terminal would obey is no part of a config
  const control = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/.exec(text);
  if (control !== null) refuse(`it has the control character ${shown(control[0])}; take it out`);
  if (text.startsWith('[')) return [{ line, section: sectionOf(text) }];
  const equals = text.indexOf('=');
  if (equals < 0) refuse('it is no section, and no key with its value; want KEY = VALUE');
  return [{ line, key: trimmed(text.slice(0, equals)), value: trimmed(text.slice(equals + 1)) }];
}

function sectionOf(text: string): SectionName {
  const name = tight(text).toLowerCase();
  if (name === '[interface]') return 'Interface';
  if (name === '[peer]') return 'Peer';
  return refuse(`${shown(text)} is no section; want [Interface] or [Peer]`);
}

/** Other characters that look blank are none to wg(8). */
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && BLANK.includes(text.charAt(start))) start++;
  while (start < end && BLANK.includes(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}
