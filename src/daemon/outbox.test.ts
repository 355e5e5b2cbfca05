import { expect, it } from 'vitest';
import { Outbox } from './outbox.ts';

it('posts what was added since the last time, in order and once', () => {
  const posted: (readonly number[])[] = [];
  const outbox = new Outbox<number>((messages) => posted.push(messages));
  outbox.flush();
  expect(posted).toEqual([]);
  outbox.add(1);
  outbox.add(2);
  expect(outbox.isEmpty).toBe(false);
  outbox.flush();
  outbox.flush();
  outbox.add(3);
  outbox.flush();
  expect(posted).toEqual([[1, 2], [3]]);
  expect(outbox.isEmpty).toBe(true);
});

it('takes what is added while it posts into the next', () => {
  const posted: (readonly number[])[] = [];
  const outbox = new Outbox<number>((messages) => {
    posted.push(messages);
    if (messages[0] === 1) outbox.add(2);
  });
  outbox.add(1);
  outbox.flush();
  outbox.flush();
  expect(posted).toEqual([[1], [2]]);
});
