import fc from 'fast-check';
import { expect, it } from 'vitest';
import { eachAttribute, readU32, readU32be, u32At, u32beAt, visitAttributes } from './attribute.ts';
import { MessageWriter } from './message.ts';

const attributes = fc.array(fc.tuple(fc.integer({ min: 1, max: 99 }), fc.uint8Array({ maxLength: 9 })));

it('finds by visits what it finds one by one', () => {
  fc.assert(
    fc.property(attributes, (all) => {
      const writer = new MessageWriter();
      for (const [type, value] of all) writer.attr(type, value);
      const visited: [number, Uint8Array][] = [];
      visitAttributes(writer.bytes, 0, (type, begin, end) => visited.push([type, writer.bytes.subarray(begin, end)]));
      expect(visited).toEqual([...eachAttribute(writer.bytes)]);
    }),
  );
});

it('reads numbers in place as it reads them by themselves, and nothing that is none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.nat(9), (word, before) => {
      const bytes = Uint8Array.of(...new Uint8Array(before), ...word);
      expect([u32At(bytes, before, before + 4), u32beAt(bytes, before, before + 4)]).toEqual([
        readU32(word),
        readU32be(word),
      ]);
      expect(() => u32At(bytes, before, before + 3)).toThrow(RangeError);
    }),
  );
});
