import { afterAll, beforeAll, expect, it } from 'vitest';
import { ECHO_PORT } from '../../lab/endpoint/protocol.ts';
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
  const [one, two] = [lab.create(lab.victim, 's1'), lab.create(lab.witness, 's2')];
  const [near, far] = [await lab.endpoint(one), await lab.endpoint(two)];
  await expect
    .poll(async () => (await near.ask({ to: two.hostAddress, text: 'up', count: 1, waitMs: 200 })).echoes.length, {
      timeout: 30_000,
    })
    .toBe(1);
  await near.stream(two.hostAddress, ECHO_PORT, 10);
  await far.stream(one.hostAddress, ECHO_PORT, 10);
  const killed = await killAtEach(lab, [
    { name: 'encrypt off', wish: { encrypts: false }, leads: lab.victim },
    { name: 'encrypt on', wish: { encrypts: true }, leads: lab.witness },
  ]);
  for (const [name, count] of killed) expect(count, name).toBeGreaterThan(10);
  for (const report of [await near.stopStream(), await far.stopStream()]) {
    expect(report).toMatchObject({ lost: [], overflows: 0 });
  }
});
