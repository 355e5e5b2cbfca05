/**
 * A number below `modulus` that a daemon's instance gives: of what it has where others have theirs. Of two daemons that
 * are given one, the second is told so by the kernel.
 */
export function instanceNumber(instance: string, modulus: number): number {
  let hash = 0;
  for (const char of instance) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % modulus;
  return hash;
}
