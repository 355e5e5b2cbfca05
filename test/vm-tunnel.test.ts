import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootCulvertGuest, inCheckout } from '../lab/guest/culvert-guest.ts';
import type { Guest } from '../lab/guest/guest.ts';
import { tunnelCases } from './support/tunnel-cases.ts';

/* Tunnels by the kernel's WireGuard, in a guest that boots a kernel which has it: all of tunnel-library.test.ts. */

/** seconds, of all cases; two minutes where the machine is idle */
const RUN_S = 900;
const LIMIT_MS = 1000 * (RUN_S + 300);

// An emulated machine of another kind would need another kernel.
describe.skipIf(process.arch !== 'x64')('a tunnel by the kernel of a guest (on x86-64 only)', () => {
  let guest: Guest;
  /** What was printed of each case, by its name. */
  let results: ReadonlyMap<string, string>;
  let printed = '';

  beforeAll(async () => {
    guest = await bootCulvertGuest(RUN_S + 300);
    ({ output: printed } = await guest.run(inCheckout('node', 'test/support/tunnel-cases-run.ts'), RUN_S));
    const blocks = printed.split(/^(?=(?:not )?ok )/m);
    results = new Map(blocks.map((block) => [/^(?:not )?ok (.*) \(\d+ ms\)$/m.exec(block)?.[1] ?? '', block]));
  }, LIMIT_MS);

  afterAll(() => guest?.[Symbol.asyncDispose](), 60_000);

  it.each(tunnelCases)('$name', ({ name }) => expect(results.get(name) ?? printed).toMatch(/^ok /));
});
