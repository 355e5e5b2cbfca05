/** Bytes that stand in a test as lines of hexadecimal digits, spaced as it pleases. */
export function hex(...lines: readonly string[]): Uint8Array {
  return Buffer.from(lines.join('').replaceAll(' ', ''), 'hex');
}
