import { setTimeout as pause } from 'node:timers/promises';

/** ms, of what hangs: an emulated machine is slow */
const PATIENCE_MS = 60_000;
const POLL_MS = 20;

/** Asks again and again. @throws Error where it is not so after a minute */
export async function until(what: string, condition: () => boolean): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; !condition(); ) {
    if (performance.now() > deadline) throw new Error(`Waited ${PATIENCE_MS} ms for ${what}`);
    // oxlint-disable-next-line no-await-in-loop -- asked again and again
    await pause(POLL_MS);
  }
}
