import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readAttributes } from './attribute.ts';
import { MessageWriter, readMessages } from './message.ts';

const attribute = fc.tuple(fc.nat(0x3fff), fc.uint8Array({ maxLength: 20 }));
const content = fc.uniqueArray(attribute, { maxLength: 6, selector: ([type]) => type });

/** How many there are, or none where it was a RangeError; anything else is raised. */
function count(read: () => Iterable<unknown>): number {
  try {
    return [...read()].length;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return 0;
  }
}

it('reads back what was written', () => {
  fc.assert(
    fc.property(fc.array(content, { maxLength: 5 }), (messages) => {
      const writer = new MessageWriter();
      for (const [index, attributes] of messages.entries()) {
        writer.begin(7, 1, index);
        for (const [type, value] of attributes) writer.attr(type, value);
        writer.end();
      }
      const read = [...readMessages(writer.bytes)].map(({ body }) => [...readAttributes(body)]);
      expect(read).toEqual(messages);
    }),
  );
});

it('comes to an end whatever the bytes are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(count(() => readMessages(bytes))).toBeLessThanOrEqual(bytes.length / 16);
      expect(count(() => readAttributes(bytes))).toBeLessThanOrEqual(bytes.length / 4);
    }),
    { numRuns: 2000 },
  );
});
