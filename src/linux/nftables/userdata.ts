import { MAX_COMMENT_BYTES } from '../../plan/ruleset.ts';

/*
 * The kernel keeps a few bytes for user space with a table, a chain, a set and an element. By the convention of
 * libnftnl they are entries of type, length and value, and type 0 is a comment that ends in a zero, which nft(8) shows.
 */

const COMMENT = 0;
/** Of a set: the byte order of its key, a 32-bit number, 1 for the host's. */
export const HOST_ORDER_KEY = [0, 4, 1, 0, 0, 0];
/** Of a map: the same of its data. */
export const HOST_ORDER_DATA = [1, 4, 1, 0, 0, 0];

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @throws RangeError where the comment is longer than {@link MAX_COMMENT_BYTES} */
export function commentUserdata(comment: string): Uint8Array {
  const text = encoder.encode(comment);
  if (text.length > MAX_COMMENT_BYTES) {
    throw new RangeError(`Cannot keep a comment of ${text.length} bytes: at most ${MAX_COMMENT_BYTES}`);
  }
  const entry = new Uint8Array(text.length + 3);
  entry[0] = COMMENT;
  entry[1] = text.length + 1;
  entry.set(text, 2);
  return entry;
}

/** The comment among the entries; undefined where there is none, or where the bytes are not such entries. */
export function readComment(userdata: Uint8Array | undefined): string | undefined {
  if (userdata === undefined) return undefined;
  for (let at = 0; at + 2 <= userdata.length; ) {
    const type = userdata[at];
    const length = userdata[at + 1] ?? 0;
    const value = userdata.subarray(at + 2, at + 2 + length);
    if (value.length < length) return undefined;
    if (type === COMMENT) return decoder.decode(value.at(-1) === 0 ? value.subarray(0, -1) : value);
    at += 2 + length;
  }
  return undefined;
}
