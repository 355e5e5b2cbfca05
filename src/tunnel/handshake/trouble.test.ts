import { expect, it } from 'vitest';
import type { SeenDevice } from '../../plan/wireguard/device.ts';
import { parseEndpoint } from '../../plan/wireguard/endpoint.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import type { Heard } from './answers.ts';
import { troubleOf } from './trouble.ts';

const KEY = 'k' as Key;
const NONE: Heard = { responses: 0, cookies: 0, initiations: 0 };
const seen = (received: number): SeenDevice => ({
  listenPort: 1,
  fwMark: 0,
  peers: new Map([[KEY, { publicKey: KEY, keepalive_s: 0, allowedIps: [], lastHandshakeMs: 0, received, sent: 444 }]]),
});
const resolved = { endpoints: new Map([[KEY, parseEndpoint('192.0.2.1:51820')]]), unresolved: new Map() };
const codeOf = (heard: Partial<Heard>, { received = 0, lastMs = 0 } = {}): string => {
  const clock = { nowMs: 1e12, lastMs: new Map([[KEY, lastMs]]), madeMs: 0 };
  return troubleOf(seen(received), { resolved, fwMark: 0, heard: { ...NONE, ...heard }, clock }).code;
};

it('goes by the strongest that was seen', () => {
  expect(codeOf({})).toBe('no_answer');
  expect(codeOf({}, { lastMs: 2e12 })).toBe('clock_behind');
  expect(codeOf({ cookies: 1 }, { lastMs: 2e12 })).toBe('peer_busy');
  expect(codeOf({}, { received: 148, lastMs: 2e12 })).toBe('handshake_refused');
  expect(codeOf({ responses: 3, cookies: 1 }, { lastMs: 2e12 })).toBe('handshake_refused');
  expect(codeOf({ initiations: 1 })).toBe('handshake_refused');
});

it('says what was seen', () => {
  const clock = { nowMs: 1e12, lastMs: new Map(), madeMs: 0 };
  const text = (heard: Partial<Heard>): string =>
    troubleOf(seen(0), { resolved, fwMark: 0, heard: { ...NONE, ...heard }, clock }).text;
  expect(text({})).toMatch(/^444 bytes sent to 192\.0\.2\.1:51820, and nothing came back: /);
  expect(text({ responses: 3 })).toMatch(/has answered 3 times, and the answers cannot be read: .* pre-shared key/);
});
