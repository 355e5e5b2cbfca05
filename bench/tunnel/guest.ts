import { bootCulvertGuest, inCheckout } from '../../lab/guest/culvert-guest.ts';

/*
 * bench:tunnel in a guest whose kernel has WireGuard, with its command line. Each of its instructions is emulated: ratios
 * are to be read, and how long `node` takes there to start, which it says first.
 */

/** seconds */
const RUN_S = 3 * 3600;
/** variables of rows */
const GIVEN = ['CULVERT_CYCLES', 'CULVERT_SEED'];
const START = `time node -e 0`;

await using guest = await bootCulvertGuest(RUN_S + 600);
await guest.run(START);
const start = await guest.run(START);
process.stdout.write(`time node -e 0${start.output}\n`);
const given = Object.entries(process.env).flatMap(([name, value]) =>
  GIVEN.includes(name) ? [`${name}=${value}`] : [],
);
const line = inCheckout(...given, 'node', 'bench/tunnel/main.ts', ...process.argv.slice(2));
const { status, output } = await guest.run(line, RUN_S);
process.stdout.write(output);
process.exitCode = status;
