import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Ip } from '../../addr/ip.ts';
import { formatIpPrefix, ipPrefixAround, parseIpPrefix } from '../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { type Ipv6, parseIpv6 } from '../../addr/ipv6.ts';
import type { Device, Peer, SeenDevice, SeenPeer } from './device.ts';
import { type Edit, edits, editText, type PeerSettings, peerEdit } from './edit.ts';
import { type Key, keyBytes, keyHex, keyOf, keyOfHex, parseKey } from './key.ts';

const NOW = 1_700_000_000_000;

/** What a device does with edits, the plain way. */
class NaiveDevice {
  privateKey: Key | undefined;
  listenPort = 0;
  fwMark = 0;
  readonly peers = new Map<Key, SeenPeer>();

  edit(edit: Edit): void {
    if (edit.verb === 'set') {
      this.privateKey = edit.privateKey ?? this.privateKey;
      this.listenPort = edit.listenPort ?? this.listenPort;
      this.fwMark = edit.fwMark ?? this.fwMark;
    } else if (edit.verb === 'remove') this.peers.delete(edit.publicKey);
    else if (edit.verb === 'add' || this.peers.has(edit.peer.publicKey)) this.#put(edit.peer);
  }

  #put({ publicKey, presharedKey, allowedIps, ...settings }: PeerSettings): void {
    const nothing: SeenPeer = {
      publicKey,
      keepalive_s: 0,
      allowedIps: [],
      lastHandshakeMs: 0,
      received: 0,
      sent: 0,
    };
    const { presharedKey: former, ...peer } = this.peers.get(publicKey) ?? nothing;
    const shared = presharedKey === 'none' ? undefined : (presharedKey ?? former);
    for (const [key, other] of this.peers) {
      // an address is one peer's: the last to say so
      const left = other.allowedIps.filter(
        (one) => !allowedIps?.some((prefix) => formatIpPrefix(prefix) === formatIpPrefix(one)),
      );
      this.peers.set(key, { ...other, allowedIps: left });
    }
    this.peers.set(publicKey, {
      ...peer,
      ...settings,
      ...(shared === undefined ? {} : { presharedKey: shared }),
      ...(allowedIps === undefined ? {} : { allowedIps }),
    });
  }
}

const key = fc.integer({ min: 0, max: 20 }).map((seed) => keyOf(new Uint8Array(32).fill(seed + 1)));
const endpoint = fc.record({
  address: fc.integer({ min: 1, max: 9 }).chain((at) => fc.constantFrom<Ip[]>(at as Ipv4, BigInt(at) as Ipv6)),
  port: fc.nat({ max: 9 }),
});
const peer = (publicKey: Key, subnet: number): fc.Arbitrary<Peer> =>
  fc
    .record({
      presharedKey: fc.option(key, { nil: undefined }),
      endpoint: fc.option(endpoint, { nil: undefined }),
      keepalive_s: fc.integer({ min: 0, max: 2 }),
      more: fc.boolean(),
      isMixed: fc.boolean(),
    })
    .map(({ presharedKey, endpoint: told, keepalive_s, more, isMixed }) => ({
      publicKey,
      ...(presharedKey === undefined ? {} : { presharedKey }),
      ...(told === undefined ? {} : { endpoint: told }),
      keepalive_s,
      allowedIps: [subnet, ...(more ? [subnet + 100] : [])].flatMap((at) => [
        ipPrefixAround((at << 12) as Ipv4, 20),
        ...(isMixed ? [ipPrefixAround((BigInt(at) << 64n) as Ipv6, 64)] : []),
      ]),
    }));
const own = fc.record(
  { privateKey: key, listenPort: fc.integer({ min: 1, max: 3 }), fwMark: fc.nat({ max: 2 }) },
  { requiredKeys: ['privateKey'] },
);
/** Subnets change hands between peers. */
const device: fc.Arbitrary<Device> = fc
  .tuple(own, fc.uniqueArray(key, { maxLength: 8 }), fc.nat({ max: 30 }))
  .chain(([settings, keys, shift]) =>
    fc
      .tuple(...keys.map((publicKey, index) => peer(publicKey, (index + shift) % 40)))
      .map((peers) => ({ ...settings, peers: new Map(peers.map((one) => [one.publicKey, one])) })),
  );

const bare = ({ privateKey, listenPort, fwMark = 0, peers }: NaiveDevice | Device): unknown => ({
  privateKey,
  listenPort,
  fwMark,
  peers: [...peers.values()]
    .map(({ publicKey, presharedKey, endpoint: at, keepalive_s, allowedIps }) => ({
      publicKey,
      presharedKey,
      at,
      keepalive_s,
      allowedIps: allowedIps.map(formatIpPrefix).toSorted(),
    }))
    .toSorted((one, other) => one.publicKey.localeCompare(other.publicKey)),
});

/** A device with one peer, as it should be. */
function wanted(one: Peer): Device {
  return { privateKey: one.publicKey, listenPort: 1, peers: new Map([[one.publicKey, one]]) };
}

/** The same as it is. */
function seen(one: Peer, lastHandshakeMs: number): SeenDevice {
  const found: SeenPeer = { ...one, lastHandshakeMs, received: 0, sent: 0 };
  return { privateKey: one.publicKey, listenPort: 1, fwMark: 0, peers: new Map([[one.publicKey, found]]) };
}

/** An endpoint that a peer has cannot be taken from it, nor a port where none is chosen. */
function withKept(desired: Device, former: Device | NaiveDevice): Device {
  const peers = [...desired.peers.values()].map((one): Peer => {
    const kept = former.peers.get(one.publicKey)?.endpoint;
    return one.endpoint === undefined && kept !== undefined ? { ...one, endpoint: kept } : one;
  });
  const { listenPort = former.listenPort ?? 0 } = desired;
  return { ...desired, listenPort, peers: new Map(peers.map((one) => [one.publicKey, one])) };
}

describe('edits', () => {
  it('bring any device to any other, and then say nothing', () => {
    fc.assert(
      fc.property(device, device, (former, desired) => {
        const naive = new NaiveDevice();
        for (const edit of edits(naive, former, NOW)) naive.edit(edit);
        expect(bare(naive)).toEqual(bare(withKept(former, new NaiveDevice())));
        for (const edit of edits(naive, desired, NOW)) naive.edit(edit);
        expect(bare(naive)).toEqual(bare(withKept(desired, former)));
        expect(edits(naive, desired, NOW)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('leave a peer where it is heard from, while its session lives', () => {
    const one: Peer = {
      publicKey: keyOf(new Uint8Array(32)),
      endpoint: { address: 1 as Ipv4, port: 1 },
      keepalive_s: 0,
      allowedIps: [],
    };
    for (const address of [2 as Ipv4, 1n as Ipv6]) {
      const found = (ageMs: number): SeenDevice => seen({ ...one, endpoint: { address, port: 1 } }, NOW - ageMs);
      expect(edits(found(179_999), wanted(one), NOW)).toEqual([]);
      expect(edits(found(180_000), wanted(one), NOW)).toEqual([
        { verb: 'change', peer: { publicKey: one.publicKey, endpoint: one.endpoint } },
      ]);
    }
  });

  it('believe that an endpoint is reached by its link where that is not told', () => {
    const [byNone, byTwo, byThree] = [{}, { scopeId: 2 }, { scopeId: 3 }].map((scope): Peer => {
      const at = { address: parseIpv6('fe80::1'), port: 1, ...scope };
      return { publicKey: keyOf(new Uint8Array(32)), endpoint: at, keepalive_s: 0, allowedIps: [] };
    });
    if (byNone === undefined || byTwo === undefined || byThree === undefined) throw new Error('There are three');
    expect(edits(seen(byNone, 0), wanted(byTwo), NOW)).toEqual([]);
    expect(edits(seen(byThree, 0), wanted(byTwo), NOW)).toHaveLength(1);
    expect(edits(seen(byThree, 0), wanted(byNone), NOW)).toHaveLength(1);
    expect(peerEdit(byNone, byTwo)).toMatchObject({ peer: { endpoint: byTwo.endpoint } });
  });

  it('of one peer are what differs, and nothing where nothing does', () => {
    fc.assert(
      fc.property(device, device, (former, desired) => {
        for (const one of desired.peers.values()) {
          const edit = peerEdit(former.peers.get(one.publicKey), one);
          const naive = new NaiveDevice();
          for (const before of edits(naive, former, NOW)) naive.edit(before);
          if (edit !== undefined) naive.edit(edit);
          const after = naive.peers.get(one.publicKey);
          expect({ ...after, endpoint: one.endpoint }).toMatchObject({ ...one, endpoint: one.endpoint });
          expect(after?.endpoint).toEqual(one.endpoint ?? former.peers.get(one.publicKey)?.endpoint);
          expect(peerEdit(one, one)).toBeUndefined();
        }
      }),
    );
  });

  it('read as wg(8) does, without what is secret', () => {
    const [publicKey, secret] = [keyOf(new Uint8Array(32).fill(1)), keyOf(new Uint8Array(32).fill(2))];
    const texts = [
      editText('wg0', { verb: 'set', privateKey: secret, listenPort: 51_820 }),
      editText('wg0', { verb: 'remove', publicKey }),
      editText('wg0', {
        verb: 'add',
        peer: {
          publicKey,
          presharedKey: secret,
          endpoint: { address: 0xc0000202 as Ipv4, port: 51_820 },
          keepalive_s: 25,
          allowedIps: [parseIpPrefix('10.64.16.0/20'), parseIpPrefix('2001:db8::/32')],
        },
      }),
      editText('wg0', { verb: 'change', peer: { publicKey, presharedKey: 'none', keepalive_s: 0 } }),
      editText('wg0', { verb: 'set', fwMark: 0xca6c }),
      editText('wg0', { verb: 'set', fwMark: 0 }),
      editText('wg0', {
        verb: 'change',
        peer: { publicKey, endpoint: { address: parseIpv6('2001:db8::1'), port: 7 } },
      }),
    ];
    expect(texts.join('\n')).toBe(`wg set wg0 listen-port 51820 private-key (hidden)
wg set wg0 peer ${publicKey} remove
wg set wg0 peer ${publicKey} preshared-key (hidden) endpoint 192.0.2.2:51820 persistent-keepalive 25 allowed-ips 10.64.16.0/20,2001:db8::/32
wg set wg0 peer ${publicKey} preshared-key /dev/null persistent-keepalive off
wg set wg0 fwmark 0xca6c
wg set wg0 fwmark off
wg set wg0 peer ${publicKey} endpoint [2001:db8::1]:7`);
  });
});

describe('a key', () => {
  it('is 32 bytes in the one way that base64 writes them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const made = keyOf(bytes);
        expect(parseKey(made)).toBe(made);
        expect([...keyBytes(made)]).toEqual([...bytes]);
        expect(keyOfHex(keyHex(made))).toBe(made);
      }),
    );
  });

  it.each(['', 'secret', 'A'.repeat(43), `${'A'.repeat(42)}B=`, 'A'.repeat(44), `${'A'.repeat(42)}-=`])(
    'is not %j, which no message shows',
    (text) => {
      expect(() => parseKey(text)).toThrow(expect.objectContaining({ code: 'invalid_key' }));
      if (text.length > 5) expect(() => parseKey(text)).not.toThrow(text);
    },
  );
});
