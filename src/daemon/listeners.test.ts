import { expect, it } from 'vitest';
import { Listeners } from './listeners.ts';

function listen(listeners: Listeners): { readonly heard: [number, string][]; readonly stop: () => void } {
  const heard: [number, string][] = [];
  return { heard, stop: listeners.add(({ sequence, message }) => heard.push([sequence, message])) };
}

function publish(listeners: Listeners, ...messages: string[]): void {
  for (const message of messages) listeners.publish({ type: 'test', message });
}

it('give the first what came before it, in order, and others what comes from then on', () => {
  const listeners = new Listeners();
  publish(listeners, 'a', 'b');
  const first = listen(listeners);
  const second = listen(listeners);
  publish(listeners, 'c');
  first.stop();
  publish(listeners, 'd');
  const third = listen(listeners);
  expect(first.heard).toEqual([
    [1, 'a'],
    [2, 'b'],
    [3, 'c'],
  ]);
  expect(second.heard).toEqual([
    [3, 'c'],
    [4, 'd'],
  ]);
  expect(third.heard).toEqual([]);
});

it('keep so many for the first and no more, the last ones', () => {
  const listeners = new Listeners();
  publish(listeners, ...Array.from({ length: 10_005 }, (_, index) => `e${index + 1}`));
  const { heard } = listen(listeners);
  expect(heard).toHaveLength(10_000);
  expect(heard[0]).toEqual([6, 'e6']);
  expect(heard.at(-1)).toEqual([10_005, 'e10005']);
});
