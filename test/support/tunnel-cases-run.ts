import { deepEqual } from 'node:assert/strict';
import { Vpn } from '../../lab/vpn.ts';
import { QuickStage, quickCases } from './quick-cases.ts';
import { TunnelStage, tunnelCases } from './tunnel-cases.ts';

/*
 * Cases on a machine that has Node and no more: `node run.ts library`, or `quick`. A line each, `ok NAME (TIME)`, or
 * `not ok NAME (TIME)` and why; the exit code says whether one is not. After each of them the client is as it was.
 */

type Case = { readonly name: string; readonly run: () => Promise<void> };

await using vpn = await Vpn.make();
using opened = new DisposableStack();

function casesOf(kind: string | undefined): Case[] {
  if (kind === 'library') {
    const stage = opened.use(new TunnelStage(vpn));
    return tunnelCases.map(({ name, run }) => ({ name, run: () => run(stage) }));
  }
  if (kind === 'quick') {
    const stage = opened.use(new QuickStage(vpn));
    return quickCases.map(({ name, run }) => ({ name, run: () => run(stage) }));
  }
  throw new Error('Cannot run the cases: want library or quick');
}

const before = vpn.state();
for (const { name, run } of casesOf(process.argv[2])) {
  const begun = performance.now();
  const took = (): string => `${name} (${Math.round(performance.now() - begun)} ms)`;
  try {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await run();
    deepEqual(vpn.state(), before);
    console.log(`ok ${took()}`);
  } catch (error) {
    console.log(`not ok ${took()}\n${error instanceof Error ? error.stack : String(error)}`);
    process.exitCode = 1;
  }
}
