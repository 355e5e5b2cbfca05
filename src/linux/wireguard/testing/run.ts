import { cases } from './cases.ts';
import { TunnelHosts } from './hosts.ts';
import { type DeviceMaker, kernelDevices, programDevices } from './lab-device.ts';

/*
 * The cases on a machine that has Node and no more: `node run.ts kernel`, or `program`. A line each, `ok NAME (TIME)`, or
 * `not ok NAME (TIME)` and why; the exit code says whether one is not.
 */

const makers: Readonly<Record<string, DeviceMaker>> = { kernel: kernelDevices, program: programDevices };
const maker = makers[process.argv[2] ?? ''];
if (maker === undefined) throw new Error(`Cannot run the cases: want one of ${Object.keys(makers).join(', ')}`);

await using hosts = await TunnelHosts.make();
for (const { name, run } of cases) {
  const begun = performance.now();
  const took = (): string => `${name} (${Math.round(performance.now() - begun)} ms)`;
  try {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await run(hosts, maker);
    console.log(`ok ${took()}`);
  } catch (error) {
    console.log(`not ok ${took()}\n${error instanceof Error ? error.stack : String(error)}`);
    process.exitCode = 1;
  }
}
