import { expect, it } from 'vitest';
import { keyOf } from '../../plan/wireguard/key.ts';
import { OwnKeys } from './own-keys.ts';

const [one, two] = [1, 2].map((byte) => keyOf(new Uint8Array(32).fill(byte))) as [never, never];
const taken = expect.objectContaining({ code: 'via_taken' });
const asked = (tunnel: string, key: typeof one): Map<string, typeof one> => new Map([[tunnel, key]]);

it('are those of one tunnel each, from when it is asked for until nobody leaves by it', () => {
  const keys = new OwnKeys();
  keys.ask(asked('a', one));
  expect(() => keys.ask(asked('b', one))).toThrow(taken);
  keys.settle(['a'], new Set(['a']));
  expect(() => keys.ask(asked('b', one))).toThrow(taken);
  keys.ask(asked('b', two));
  keys.settle(['b'], new Set(['a', 'b']));
  keys.keep(new Set(['b']));
  keys.ask(asked('c', one));
  expect(() => keys.ask(asked('a', one))).toThrow(taken);
});

it('are taken note of all together, or none', () => {
  const keys = new OwnKeys();
  keys.ask(asked('a', one));
  const both = new Map([
    ['b', two],
    ['c', one],
  ]);
  expect(() => keys.ask(both)).toThrow(taken);
  keys.ask(asked('d', two));
  expect(() =>
    keys.ask(
      new Map([
        ['e', one],
        ['f', one],
      ]),
    ),
  ).toThrow(taken);
});

it('are both of a file that was changed, until it is said which one it runs with', () => {
  const keys = new OwnKeys();
  keys.ask(asked('a', one));
  keys.ask(asked('a', two));
  keys.settle(['a', 'a'], new Set(['a']));
  for (const key of [one, two]) expect(() => keys.ask(asked('b', key))).toThrow(taken);
  keys.runs('a', two);
  keys.ask(asked('b', one));
  expect(() => keys.ask(asked('c', two))).toThrow(taken);
});

it('stay while one of two creations is on its way', () => {
  const keys = new OwnKeys();
  keys.ask(asked('a', one));
  keys.ask(asked('a', one));
  keys.settle(['a'], new Set());
  expect(() => keys.ask(asked('b', one))).toThrow(taken);
  keys.settle(['a'], new Set());
  keys.ask(asked('b', one));
});
