import { expect, it } from 'vitest';
import type { SeenPeer } from '../../plan/wireguard/device.ts';
import { parseEndpoint } from '../../plan/wireguard/endpoint.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { PeerWatch } from './peer-watch.ts';

const KEY = 'k' as Key;
const first: SeenPeer = {
  publicKey: KEY,
  endpoint: parseEndpoint('192.0.2.1:51820'),
  keepalive_s: 0,
  allowedIps: [],
  lastHandshakeMs: 1,
  received: 100,
  sent: 100,
};

const watching = (keepalive_s = 0): ((change: Partial<SeenPeer>, nowMs: number) => string[]) => {
  let peer: SeenPeer = { ...first, keepalive_s };
  const watch = new PeerWatch(new Map([[KEY, peer]]), 0);
  return (change, nowMs) => {
    peer = { ...peer, ...change };
    return watch.look(new Map([[KEY, peer]]), nowMs).map(({ kind }) => kind);
  };
};

it('is stale when it was sent to for long and was not heard, and no more when it is', () => {
  const look = watching();
  expect(look({ sent: 200 }, 0)).toEqual([]);
  expect(look({ sent: 300 }, 14_999)).toEqual([]);
  expect(look({}, 15_000)).toEqual(['stale']);
  expect(look({ sent: 400 }, 20_000)).toEqual([]);
  expect(look({ received: 200, lastHandshakeMs: 2 }, 30_000)).toEqual(['handshake', 'heard']);
});

it('is not stale where nobody says anything', () => {
  const look = watching();
  expect(look({}, 0)).toEqual([]);
  expect(look({}, 1e9)).toEqual([]);
  expect(look({ sent: 200, received: 200 }, 2e9)).toEqual([]);
});

it('is not stale where it is only kept alive, which nobody answers, and is where not even that is sent', () => {
  const look = watching(25);
  for (let s = 25; s <= 300; s += 25) expect(look({ sent: 100 + (s / 25) * 32 }, s * 1000)).toEqual([]);
  expect(look({}, 375_000)).toEqual([]);
  expect(look({}, 380_001)).toEqual(['stale']);
  expect(look({ sent: 2000, received: 200 }, 390_000)).toEqual(['heard']);
  // a handshake is begun again and again
  expect(look({ sent: 2148 }, 391_000)).toEqual([]);
  expect(look({ sent: 2444 }, 406_000)).toEqual(['stale']);
});

it('has roamed when it is heard from elsewhere', () => {
  const look = watching();
  expect(look({ endpoint: parseEndpoint('[2001:db8::1]:51820') }, 0)).toEqual(['roamed']);
  expect(look({}, 1)).toEqual([]);
});
