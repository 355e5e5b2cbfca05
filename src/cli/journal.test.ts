import { expect, it } from 'vitest';
import { CulvertError } from '../errors.ts';
import { Journal } from './journal.ts';

function journal(): {
  readonly written: string[];
  readonly note: Journal['note'];
  readonly pass: (ms: number) => void;
} {
  const written: string[] = [];
  let now = 0;
  const { note } = new Journal(
    (text) => written.push(text),
    () => now,
  );
  return {
    written,
    note,
    pass: (ms) => {
      now += ms;
    },
  };
}

it('writes defects with their stack, and what is for people as it is', () => {
  const { written, note } = journal();
  note(new Error('no room'));
  note('the disk is full');
  note(new CulvertError('registry_unavailable', 'Cannot read cluster'));
  expect(written).toEqual([
    expect.stringMatching(/^culvert: Error: no room\n +at .*\n/),
    'culvert: the disk is full\n',
    'culvert: Cannot read cluster (registry_unavailable)\n',
  ]);
});

it('writes the same once a minute', () => {
  const { written, note, pass } = journal();
  for (let tick = 0; tick < 3000; tick++) {
    note('the disk is full');
    pass(20);
  }
  expect(written).toHaveLength(1);
  note('the disk is full');
  note('another');
  expect(written).toHaveLength(3);
});

it('remembers no more than some', () => {
  const { written, note } = journal();
  for (let line = 0; line < 101; line++) note(`line ${line}`);
  note('line 0');
  expect(written).toHaveLength(102);
});
