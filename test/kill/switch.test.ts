import { afterAll, beforeAll, expect, it } from 'vitest';
import { KillLab } from '../support/kill-lab.ts';
import { killAtEach } from '../support/mesh-kills.ts';

/* A daemon is killed at each step of a switch of encryption, off and on, while sandboxes talk. */

let lab: KillLab;
beforeAll(async () => {
  lab = await KillLab.open();
});
afterAll(() => lab[Symbol.asyncDispose]());

it('is finished, or not begun, wherever it is killed, and no packet is lost', { timeout: 600_000 }, async () => {
  await lab.start();
  const stop = await lab.talk();
  const killed = await killAtEach(lab, [
    { name: 'encrypt off', wish: { encrypts: false }, leads: lab.victim },
    { name: 'encrypt on', wish: { encrypts: true }, leads: lab.witness },
  ]);
  for (const [name, count] of killed) expect(count, name).toBeGreaterThan(10);
  for (const report of await stop()) expect(report).toMatchObject({ lost: [], overflows: 0 });
});
