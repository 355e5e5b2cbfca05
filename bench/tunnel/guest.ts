import { bootCulvertGuest, inCheckout } from '../../lab/guest/culvert-guest.ts';

/*
 * bench:tunnel in a guest whose kernel has WireGuard, with its command line. Each of its instructions is emulated: ratios
 * are to be read, and how long `node` takes there to start, which it says first.
 */

/** seconds */
const RUN_S = 3 * 3600;
const START = `time node -e 0`;

await using guest = await bootCulvertGuest(RUN_S + 600);
await guest.run(START);
const start = await guest.run(START);
process.stdout.write(`time node -e 0${start.output}\n`);
const { status, output } = await guest.run(inCheckout('node', 'bench/tunnel/main.ts', ...process.argv.slice(2)), RUN_S);
process.stdout.write(output);
process.exitCode = status;
