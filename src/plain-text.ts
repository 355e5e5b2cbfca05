/** Controls, formats, halves of characters, what is not assigned; and what breaks a line. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * What another wrote, as a terminal and a log may have it: what is not seen, or would tell a terminal what to do, stands
 * there as `\u{1b}`.
 *
 * @param most characters of it that are shown
 */
export function plainText(text: string, most = 500): string {
  const shown = text.length > most ? `${text.slice(0, most)}…` : text;
  return shown.replace(UNSEEN, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
}
