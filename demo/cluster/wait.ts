import { msText } from '../figures.ts';
import { isSoWithin } from '../pace.ts';
import type { ClusterStage, Host } from './stage.ts';

const PATIENCE_MS = 90_000;

/** Waits until something is so of the hosts. @throws Error in its time, with what each of them says of itself */
export async function untilHosts({ hosts }: ClusterStage, isSo: () => Promise<boolean>, what: string): Promise<void> {
  if (await isSoWithin(PATIENCE_MS, isSo)) return;
  const said = await Promise.all(hosts.map(saidBy));
  throw new Error([`Waited ${msText(PATIENCE_MS)} for ${what}, in vain`, ...said].join('\n'));
}

async function saidBy({ name, daemon: { client } }: Host): Promise<string> {
  try {
    const [{ problems }, { epoch, peers }] = await Promise.all([client.status(), client.mesh()]);
    return JSON.stringify({ name, problems, epoch, peers });
  } catch (error) {
    return `${name}: ${String(error)}`;
  }
}
