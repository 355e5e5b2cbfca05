import { afterEach, beforeEach, expect, it } from 'vitest';
import { removeHost } from './remove.ts';
import { Members, subnetOf, TIMING, TWO } from './testing/members.ts';

let members: Members;

beforeEach(() => void (members = new Members()));
afterEach(() => members[Symbol.asyncDispose]());

it('leaves nothing of the host, and its subnet is free at once', async () => {
  const lost = await members.join('h1', TWO);
  await members.join('h2');
  await expect(removeHost(members.registry, 'h1')).rejects.toMatchObject({ code: 'host_alive' });
  await expect(removeHost(members.registry, 'h3')).rejects.toMatchObject({ code: 'host_unknown' });
  members.forget(lost);
  members.clock.monotonic += TIMING.alive_ms;
  await members.beat();
  await members.registry.commit([], [{ key: 'subnets/99999999', value: 'nonsense' }]);
  expect(await removeHost(members.registry, 'h1')).toBe(1);
  expect((await members.keys('')).filter((key) => key.includes('h1'))).toEqual([]);
  expect(subnetOf(await members.join('h3'))).toBe(subnetOf(lost));
  await lost.publish('here again');
  expect(lost.standing).toMatchObject({ kind: 'expelled' });
});
