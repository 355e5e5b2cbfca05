import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../errors.ts';
import { assertSpecification, parseSandboxId, parseSlot } from './lease.ts';

/** The code and field of the InputError that `body` throws. */
function refusal(body: () => unknown): unknown[] {
  try {
    body();
  } catch (error) {
    if (error instanceof InputError) return [error.code, error.field];
    throw error;
  }
  return ['accepted'];
}

describe('parsing', () => {
  it('takes every slot and no other number', () => {
    for (const slot of [1, 2, 32766, 32767]) expect(parseSlot(slot)).toBe(slot);
    for (const value of [0, -1, 32768, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(refusal(() => parseSlot(value, 'slot'))).toEqual(['invalid_slot', 'slot']);
    }
  });

  it('takes sandbox ids of 1 to 63 allowed characters', () => {
    const first = Array.from('abcdefghijklmnopqrstuvwxyz0123456789');
    const letter = fc.oneof(fc.constantFrom(...first, '-'), fc.constantFrom('_', '.', 'A', '/', '\n', 'é', '\0', ' '));
    fc.assert(
      fc.property(fc.array(letter, { maxLength: 70 }), (letters) => {
        const text = letters.join('');
        const good =
          letters.length >= 1 &&
          letters.length <= 63 &&
          first.includes(letters[0] as string) &&
          letters.every((one) => one === '-' || first.includes(one));
        if (good) expect(parseSandboxId(text)).toBe(text);
        else expect(refusal(() => parseSandboxId(text, 'id'))).toEqual(['invalid_sandbox_id', 'id']);
      }),
    );
    expect(parseSandboxId('a'.repeat(63))).toHaveLength(63);
    expect(refusal(() => parseSandboxId('a'.repeat(64)))).toEqual(['invalid_sandbox_id', undefined]);
    expect(refusal(() => parseSandboxId('a\n'))).toEqual(['invalid_sandbox_id', undefined]);
  });

  it('takes any JSON of 16 KiB as a specification, and nothing else', () => {
    const longest = JSON.stringify('x'.repeat(16_382));
    for (const text of ['{}', 'null', '"\\ud800"', longest]) {
      expect(refusal(() => assertSpecification(text))).toEqual(['accepted']);
    }
    // The limit is of bytes: é is two.
    const tooLong = [`${longest} `, JSON.stringify('é'.repeat(8192))];
    for (const text of ['', '{', '{a:1}', 'undefined', '"\ud800"', '"\0"', ...tooLong]) {
      expect(refusal(() => assertSpecification(text))).toEqual(['invalid_specification', 'specification']);
    }
  });
});
