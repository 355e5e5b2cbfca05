import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KillLab } from '../support/kill-lab.ts';
import { killAtEachJoin } from '../support/mesh-kills.ts';

/* A daemon is killed at each step of its way into a cluster, and started again. */

let lab: KillLab;
beforeAll(async () => {
  lab = await KillLab.open();
});
afterAll(() => lab[Symbol.asyncDispose]());

it('has one subnet that is nobody else’s, wherever it is killed', { timeout: 600_000 }, async () => {
  const { hostAddress } = lab.create(lab.witness, 's2');
  const killed = await killAtEachJoin(lab, async () => {
    const { netns } = lab.create(lab.victim, 's1');
    const ping = ['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', '1392', hostAddress];
    await expect.poll(() => spawnSync('nsenter', [`--net=${netns}`, ...ping]).status, { timeout: 30_000 }).toBe(0);
  });
  expect(killed).toBeGreaterThan(10);
});
