import { expect, it } from 'vitest';
import { chosenSeed, SEED } from '../lab/random.ts';
import { Vpn } from '../lab/vpn.ts';
import { VpnCycles } from '../lab/vpn-cycles.ts';

/* `npm run bench:tunnel -- cycles` has a thousand of them, and measures. */
const CYCLES = 20;

it('is there again each time that a client was killed, at whatever moment, and nothing stays', {
  timeout: 600_000,
}, async () => {
  const seed = chosenSeed();
  await using vpn = await Vpn.make();
  const untouched = vpn.state();
  const cycles = await VpnCycles.begin(vpn, seed);
  const before = await cycles.holdings();
  expect(before).toMatchObject(untouched);
  for (let count = 1; count <= CYCLES; count++) {
    const where = `cycle ${count} with ${SEED}=${seed}`;
    const isLast = count === CYCLES;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await cycles.cycle(isLast).catch((cause: unknown) => {
      throw new Error(`${where}: ${String(cause)}`, { cause });
    });
    // oxlint-disable-next-line no-await-in-loop -- likewise
    if (isLast) expect(await cycles.holdings(before), where).toEqual(before);
  }
});
