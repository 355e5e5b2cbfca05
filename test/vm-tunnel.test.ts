import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootCulvertGuest, inCheckout } from '../lab/guest/culvert-guest.ts';
import type { Guest } from '../lab/guest/guest.ts';
import { quickCases } from './support/quick-cases.ts';
import { tunnelCases } from './support/tunnel-cases.ts';

/*
 * Tunnels by the kernel's WireGuard, in a guest that boots a kernel which has it: what tunnel-library.test.ts has, and where
 * it is asked for, by `npm run test:vm`, the files of tunnel-quick.test.ts too.
 */

/** seconds, of all cases: two minutes where the machine is idle, and ten for the files */
const RUN_S = { library: 900, quick: 3600 };
const LIFETIME_S = RUN_S.library + RUN_S.quick + 600;

type Kind = keyof typeof RUN_S;

const kinds: readonly { kind: Kind; cases: readonly { readonly name: string }[] }[] = [
  { kind: 'library', cases: tunnelCases },
  { kind: 'quick', cases: quickCases },
];
const wanted = (process.env['CULVERT_VM_TUNNELS'] ?? 'library').split(' ');

// An emulated machine of another kind would need another kernel.
describe.skipIf(process.arch !== 'x64')('by the kernel of a guest (on x86-64 only)', () => {
  let guest: Guest;

  beforeAll(async () => {
    guest = await bootCulvertGuest(LIFETIME_S);
  }, 300_000);
  afterAll(() => guest?.[Symbol.asyncDispose](), 60_000);

  describe.each(kinds.filter(({ kind }) => wanted.includes(kind)))('a tunnel, $kind', ({ kind, cases }) => {
    /** What was printed of each case, by its name. */
    let results: ReadonlyMap<string, string>;
    let printed = '';

    beforeAll(
      async () => {
        const run = inCheckout('node', 'test/support/tunnel-cases-run.ts', kind);
        ({ output: printed } = await guest.run(run, RUN_S[kind]));
        const blocks = printed.split(/^(?=(?:not )?ok )/m);
        results = new Map(blocks.map((block) => [/^(?:not )?ok (.*) \(\d+ ms\)$/m.exec(block)?.[1] ?? '', block]));
      },
      1000 * (RUN_S[kind] + 60),
    );

    it.each(cases)('$name', ({ name }) => expect(results.get(name) ?? printed).toMatch(/^ok /));
  });
});
