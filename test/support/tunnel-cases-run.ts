import { deepEqual } from 'node:assert/strict';
import { Vpn } from '../../lab/vpn.ts';
import { TunnelStage, tunnelCases } from './tunnel-cases.ts';

/*
 * The cases on a machine that has Node and no more. A line each, `ok NAME (TIME)`, or `not ok NAME (TIME)` and why; the exit
 * code says whether one is not. After each of them the client is as it was.
 */

await using vpn = await Vpn.make();
const before = vpn.state();
using stage = new TunnelStage(vpn);
for (const { name, run } of tunnelCases) {
  const begun = performance.now();
  const took = (): string => `${name} (${Math.round(performance.now() - begun)} ms)`;
  try {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await run(stage);
    deepEqual(vpn.state(), before);
    console.log(`ok ${took()}`);
  } catch (error) {
    console.log(`not ok ${took()}\n${error instanceof Error ? error.stack : String(error)}`);
    process.exitCode = 1;
    // oxlint-disable-next-line no-await-in-loop -- likewise
    await stage.kill();
  }
}
