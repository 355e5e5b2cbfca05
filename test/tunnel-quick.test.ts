import { afterAll, beforeAll, describe, it } from 'vitest';
import { Vpn } from '../lab/vpn.ts';
import { QuickStage, quickCases } from './support/quick-cases.ts';

/* The same files given to wg-quick(8) and to culvert. `npm run test:vm` does so by the kernel's WireGuard. */

describe('what is there by the file', { timeout: 60_000 }, () => {
  let vpn: Vpn;
  let stage: QuickStage;

  beforeAll(async () => {
    vpn = await Vpn.make();
    stage = new QuickStage(vpn);
  });
  afterAll(async () => {
    stage[Symbol.dispose]();
    await vpn[Symbol.asyncDispose]();
  });

  it.each(quickCases)('$name', ({ run }) => run(stage));
});
