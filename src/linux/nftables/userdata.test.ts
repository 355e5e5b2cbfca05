import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MAX_COMMENT_BYTES } from '../../plan/ruleset.ts';
import { commentUserdata, readComment } from './userdata.ts';

it('keeps comments as they are, up to what the kernel takes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (text) => {
      expect(readComment(commentUserdata(text))).toBe(text);
    }),
  );
  expect(commentUserdata('a'.repeat(MAX_COMMENT_BYTES)).length).toBe(256);
  expect(() => commentUserdata('ä'.repeat(127))).toThrow('Cannot keep a comment of 254 bytes: at most 253');
});

it('finds no comment in what is none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const comment = readComment(bytes);
      expect(comment === undefined || typeof comment === 'string').toBe(true);
    }),
  );
  expect(readComment(undefined)).toBeUndefined();
  expect(readComment(Uint8Array.of(0, 9, 65))).toBeUndefined();
  expect(readComment(Uint8Array.of(7, 1, 65, 0, 2, 66, 0))).toBe('B');
});
