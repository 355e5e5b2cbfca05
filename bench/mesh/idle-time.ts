import { readFileSync } from 'node:fs';

/** Time of all processors since the boot, in ticks. */
export type Ticks = { readonly idle: number; readonly all: number };

/** proc(5) on /proc/stat: what others of a shared machine have had counts as not idle */
export function readTicks(): Ticks {
  const [, ...ticks] = (readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '').split(/ +/);
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, steal = 0] = ticks.map(Number);
  return { idle: idle + wait, all: user + nice + system + idle + wait + irq + softirq + steal };
}

/** The share of all processors' time that nobody had use for. */
export function idleShare(before: Ticks, after: Ticks): number {
  return (after.idle - before.idle) / (after.all - before.all);
}
