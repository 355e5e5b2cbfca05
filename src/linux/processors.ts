import { currentProcessor, getAffinity, SyscallError, setAffinity } from './syscall.ts';

/** Of cpu_set_t: 1,024 processors. */
const MASK_BYTES = 128;
/** In place of a thread's id: the calling one. */
const SELF = 0;

/**
 * Has the calling thread stay on the processor that it is on, and another keep off that one, until the calling one is
 * let go by what is returned. Who wakes a thread draws it to its own processor, and two that wake each other all the
 * time end up on one, where each waits for the other while the next processor is idle.
 *
 * @param thread the other one's id, see gettid(2); it keeps off until it is told otherwise
 * @returns undefined where there is no second processor that the caller may run on, or no such thread
 */
export function keepApart(thread: number): Disposable | undefined {
  const allowed = new Uint8Array(MASK_BYTES);
  getAffinity(allowed);
  const here = maskOf(currentProcessor());
  const others = allowed.map((bits, index) => bits & ~(here[index] ?? 0));
  if (others.every((bits) => bits === 0)) return undefined;
  if (!isSet(thread, others) || !isSet(SELF, here)) return undefined;
  return { [Symbol.dispose]: () => void isSet(SELF, allowed) };
}

function maskOf(processor: number): Uint8Array {
  const mask = new Uint8Array(MASK_BYTES);
  mask[processor >> 3] = 1 << (processor & 7);
  return mask;
}

/** False where the thread has ended, or may have none of these processors by now: then it is where the kernel puts it. */
function isSet(thread: number, mask: Uint8Array): boolean {
  try {
    setAffinity(thread, mask);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && ['ESRCH', 'EINVAL', 'EPERM'].includes(error.errnoName)) return false;
    throw error;
  }
}
