import { msText } from './figures.ts';

const POLL_MS = 20;

/** Waits until something is so. @throws Error after `patienceMs` */
export async function until(isSo: () => Promise<boolean>, patienceMs: number, what: string): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`Waited ${msText(patienceMs)} for ${what}, in vain`);
    await pause(POLL_MS);
  }
}

export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => void setTimeout(resolve, ms));
}
