import { stat } from 'node:fs/promises';

/**
 * Has libuv start its threads now. They are made all at once when first used, in the namespace of the thread that is
 * first, and stay there: had that been the kernel thread inside a sandbox, every later look-up of a name or a file would
 * happen in that sandbox's network, and would keep it alive.
 */
export async function startThreadPool(): Promise<void> {
  await stat('/');
}
