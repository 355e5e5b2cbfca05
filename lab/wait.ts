const LOOK_MS = 5;
const IDLE = new Int32Array(new SharedArrayBuffer(4));

/** Waits with the whole thread, as it must while that is in another namespace; what it waits for has a limit of its own. */
export function waitUntil(isDone: () => boolean): void {
  while (!isDone()) Atomics.wait(IDLE, 0, 0, LOOK_MS);
}
