import { expect, it } from 'vitest';
import { firstEpoch } from '../../../cluster/epoch.ts';
import { KnownEpoch } from './known-epoch.ts';

const SENDING = { ...firstEpoch(1420), number: 4, phase: 'send', rotation: 1 } as const;

it('tells whom a change waits for once it has taken long', () => {
  const epoch = new KnownEpoch(SENDING, 1000);
  expect(epoch.problems(10_999, ['h2'])).toEqual([]);
  expect(epoch.problems(13_000, ['h2', 'h3'])).toEqual([
    {
      code: 'mesh_changing',
      message:
        'The change to epoch 4, encrypted with the keys of rotation 1, packets of 1420 bytes is in phase send for 12 s; this host waits for h2, h3',
    },
  ]);
  expect(epoch.problems(13_000, [])[0]?.message).toMatch(/waits for other hosts$/);
  epoch.take({ ...SENDING, phase: 'drop' }, 13_000);
  expect(epoch.problems(13_000, [])).toEqual([]);
  epoch.take({ ...SENDING, phase: 'done', encrypts: false }, 14_000);
  expect(epoch.problems(60_000, [])).toEqual([]);
  expect(epoch.text).toBe('epoch 4, in clear, packets of 1420 bytes');
});
