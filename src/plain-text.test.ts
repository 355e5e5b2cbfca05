import fc from 'fast-check';
import { expect, it } from 'vitest';
import { plainText } from './plain-text.ts';

it('shows what tells a terminal what to do, and leaves what is read', () => {
  expect(plainText('a “b” é 𝄞')).toBe('a “b” é 𝄞');
  expect(plainText('\u001b[2J\u009b\n\u202e\u200b\ud800\u007f')).toBe(
    '\\u{1b}[2J\\u{9b}\\u{a}\\u{202e}\\u{200b}\\u{d800}\\u{7f}',
  );
  expect(plainText('aaaa', 3)).toBe('aaa…');
});

it('never has a control in it', () => {
  const anything = fc.string({ unit: 'binary' });
  fc.assert(fc.property(anything, (text) => !/[\p{Cc}\p{Cf}\p{Cs}]/u.test(plainText(text))));
});
