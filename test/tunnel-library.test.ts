import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Vpn } from '../lab/vpn.ts';
import { TunnelStage, tunnelCases } from './support/tunnel-cases.ts';

/* A tunnel as a program has it, by the library. Where this kernel has no WireGuard, vm-tunnel.test.ts has one that does. */

describe('a tunnel of a program', () => {
  let vpn: Vpn;
  let before: Record<string, string>;

  beforeAll(async () => {
    vpn = await Vpn.make();
    before = vpn.state();
  });
  afterEach(() => expect(vpn.state()).toEqual(before));
  afterAll(() => vpn[Symbol.asyncDispose]());

  it.each(tunnelCases)('$name', async ({ run }) => {
    using stage = new TunnelStage(vpn);
    await run(stage);
  });
});
