/** ms between two looks */
const POLL_MS = 10;

/** Looks again and again. @throws Error where it takes longer than `timeoutMs` */
export async function until(
  what: string,
  timeoutMs: number,
  isSo: () => Promise<boolean> | boolean,
  pollMs = POLL_MS,
): Promise<void> {
  const begin = performance.now();
  while (!(await isSo())) {
    if (performance.now() - begin > timeoutMs) throw new Error(`Cannot wait longer than ${timeoutMs} ms until ${what}`);
    await pause(pollMs);
  }
}

export function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, timeMs));
}
