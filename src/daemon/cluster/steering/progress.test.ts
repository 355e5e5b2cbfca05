import { expect, it } from 'vitest';
import { progressOf } from './progress.ts';

it('is as far as with the host that is least far, which is waited for', () => {
  const others = [
    ['h2', 'drop'],
    ['h3', 'send'],
    ['h4', 'send'],
  ] as const;
  expect(progressOf(3, 'drop', others)).toEqual({ number: 3, reached: 'send', waitsFor: ['h3', 'h4'] });
  expect(progressOf(3, 'drop', [['h2', 'drop']])).toEqual({ number: 3, reached: 'drop', waitsFor: [] });
  expect(progressOf(3, 'drop', [])).toEqual({ number: 3, reached: 'drop', waitsFor: [] });
});

it('is kept back by the size of its links', () => {
  expect(progressOf(3, 'accept', [['h2', 'drop']])).toEqual({ number: 3, reached: 'accept', waitsFor: [] });
});

it('names some of many', () => {
  const others = Array.from({ length: 20 }, (_, index) => [`h${index}`, 'accept'] as const);
  expect(progressOf(3, 'drop', others).waitsFor).toHaveLength(8);
});
