import { msText } from './figures.ts';

const POLL_MS = 20;

/** Waits until something is so. @throws Error after `patienceMs` */
export async function until(isSo: () => Promise<boolean>, patienceMs: number, what: string): Promise<void> {
  if (!(await isSoWithin(patienceMs, isSo))) throw new Error(`Waited ${msText(patienceMs)} for ${what}, in vain`);
}

/** Looks again and again whether something is so. Returns whether it was, within `patienceMs`. */
export async function isSoWithin(patienceMs: number, isSo: () => Promise<boolean> | boolean): Promise<boolean> {
  const deadline = performance.now() + patienceMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) return false;
    await pause(POLL_MS);
  }
  return true;
}

export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => void setTimeout(resolve, ms));
}
