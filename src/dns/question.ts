/** A question, RFC 1035, 4.1.2. */
export type Question = {
  /** from the left, in lower case; a byte each character, as labels hold any */
  readonly labels: readonly string[];
  /** its labels as asked, joined by dots */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** as it stood on the wire: what is answered repeats it to the bit, upper and lower case too */
  readonly bytes: Uint8Array;
};

/** bytes of a name with the lengths of its labels, RFC 1035, 3.1 */
const MAX_NAME = 255;
const MAX_LABEL = 63;

/**
 * Reads the question that begins at `start`. It is the first in its message, so nothing stands before that a pointer
 * could mean, and none is followed.
 *
 * @returns undefined where there is none
 */
export function readQuestion(message: Buffer, start: number): Question | undefined {
  const labels: string[] = [];
  let at = start;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > MAX_LABEL) return undefined;
    at += 1;
    if (length === 0) break;
    labels.push(message.toString('latin1', at, at + length));
    at += length;
    if (at - start >= MAX_NAME) return undefined;
  }
  const end = at + 4;
  if (end > message.length) return undefined;
  return {
    labels: labels.map(lowerCase),
    name: labels.join('.'),
    type: message.readUInt16BE(at),
    class: message.readUInt16BE(at + 2),
    bytes: message.subarray(start, end),
  };
}

/** Of ASCII alone: in DNS no other letters are the same, RFC 4343. */
function lowerCase(label: string): string {
  return label.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}
