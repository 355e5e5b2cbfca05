import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readDevice } from './uapi.ts';
import { DeviceReader } from './uapi-reader.ts';

const hex = (byte: number): string => byte.toString(16).padStart(2, '0').repeat(32);

type Words = { readonly key: number; readonly port: number; readonly sent: number; readonly allowed: number };

/** What a device might say of a peer, that has ever the same lines where its words are the same. */
function lines({ key, port, sent, allowed }: Words): string {
  const ips = Array.from({ length: allowed }, (_, index) => `allowed_ip=10.${key}.${index}.0/24\n`);
  return `public_key=${hex(key)}\npreshared_key=${hex(0)}\nendpoint=192.0.2.1:${port}\ntx_bytes=${sent}\n${ips.join('')}`;
}

const words = fc.record({
  key: fc.integer({ min: 1, max: 6 }),
  port: fc.constantFrom(1, 2),
  sent: fc.nat(2),
  allowed: fc.nat(2),
});
const answers = fc.array(
  fc.record({
    own: fc.constantFrom('', `private_key=${hex(9)}\nlisten_port=7\n`),
    peers: fc.uniqueArray(words, { selector: ({ key }) => key }),
    /** shares of the answer after which there was a pause */
    cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 }),
    isWhole: fc.boolean(),
  }),
);

it('reads one answer after the other as each is by itself, in whatever pieces it comes', () => {
  fc.assert(
    fc.property(answers, (all) => {
      const reader = new DeviceReader();
      for (const { own, peers, cuts, isWhole } of all) {
        const text = own + peers.map(lines).join('');
        // as the socket's, which the next answer is written into
        const answer = Buffer.from(text);
        reader.begin();
        for (const cut of cuts.toSorted((a, b) => a - b))
          reader.hear(answer.subarray(0, Math.floor(cut * answer.length)));
        if (isWhole) expect(reader.end(answer)).toEqual(readDevice(text));
        answer.fill(0);
      }
    }),
  );
});

it('gives what it gave before of a peer that is told of in the same words', () => {
  const reader = new DeviceReader();
  const read = (text: string): unknown[] => {
    reader.begin();
    return [...reader.end(Buffer.from(text)).peers.values()];
  };
  const one = { key: 1, port: 1, sent: 0, allowed: 1 };
  const two = { ...one, key: 2 };
  const [former] = read(lines(one) + lines(two));
  expect(read(lines({ ...two, sent: 5 }) + lines(one))[1]).toBe(former);
});

it('refuses a peer that is none', () => {
  const reader = new DeviceReader();
  reader.begin();
  expect(() => reader.end(Buffer.from('listen_port=1\npublic_key=\n'))).toThrow('Cannot read a key of 0 characters');
});
