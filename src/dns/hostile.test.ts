import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIpv4 } from '../addr/ipv4.ts';
import { MAX_QUERY } from './limits.ts';
import { respond } from './respond.ts';
import { dataOf, edns, queryFor, readReply } from './testing/ask.ts';
import { namesOf } from './testing/team.ts';

const ASKER = parseIpv4('10.11.0.1');
const names = namesOf({ team: { web: ['10.11.0.1'], db: ['10.11.0.2', '10.64.16.9'] } });
const ADDRESSES: Readonly<Record<string, readonly string[]>> = {
  'web.team.culvert': ['10.11.0.1'],
  'db.team.culvert': ['10.11.0.2', '10.64.16.9'],
};

/** Whatever comes in: nothing goes out, or a whole answer to just that, which tells no more than names that were asked. */
function holds(message: Uint8Array): void {
  const response = respond(Buffer.from(message), ASKER, 'udp', names);
  if (response === undefined) return;
  const { bytes } = response;
  expect(bytes.length).toBeLessThanOrEqual(1232);
  const reply = readReply(bytes);
  expect(reply.flag_qr).toBe(true);
  expect(bytes.subarray(0, 2)).toEqual(Buffer.from(message.subarray(0, 2)));
  const [question] = reply.questions ?? [];
  if (question === undefined) {
    expect(bytes).toHaveLength(12);
    expect(['FORMERR', 'NOTIMP']).toContain(reply.rcode);
    return;
  }
  expect(Buffer.from(message).indexOf(bytes.subarray(12, 12 + question.name.length + 5))).toBe(12);
  const isAddresses = (reply.answers ?? []).some(({ type }) => type === 'A');
  if (isAddresses) expect(dataOf(reply)).toEqual(ADDRESSES[question.name.toLowerCase()]);
}

const byte = fc.nat(255);

describe('whatever comes in is answered rightly or not at all', () => {
  it('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: MAX_QUERY + 10 }), holds), { numRuns: 2000 });
  });

  it('a header, and random bytes', () => {
    const header = fc.tuple(byte, byte, fc.constantFrom(0, 1), fc.nat(3), fc.nat(3), fc.nat(3));
    const body = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(header, body, ([high, low, questions, ...counts], rest) =>
        holds(Uint8Array.of(high, low, 1, 0, 0, questions, ...counts.flatMap((count) => [0, count]), ...rest)),
      ),
      { numRuns: 5000 },
    );
  });

  it('a query with bytes that were changed, left out or put in', () => {
    const whole = fc.constantFrom(
      queryFor('web.team.culvert'),
      queryFor('db.team.culvert', 'A', { additionals: [edns(4096)] }),
      queryFor('2.0.11.10.in-addr.arpa', 'PTR', { additionals: [edns(1232)] }),
      queryFor('example.org', 'TXT'),
    );
    const edit = fc.record({ at: fc.nat(60), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) });
    fc.assert(
      fc.property(whole, fc.array(edit, { minLength: 1, maxLength: 4 }), (query, edits) => {
        const bytes = [...query];
        for (const { at, remove, insert } of edits) bytes.splice(at, remove, ...insert);
        holds(Uint8Array.from(bytes));
      }),
      { numRuns: 10_000 },
    );
  });
});
