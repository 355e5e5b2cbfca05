import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIp, type Ip, ipBits } from '../../addr/ip.ts';
import { formatIpPrefix, ipPrefixAround } from '../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Ipv6 } from '../../addr/ipv6.ts';
import { InputError } from '../../errors.ts';
import { keyOf } from '../../plan/wireguard/key.ts';
import { clamped, publicKeyOf } from '../../plan/wireguard/private-key.ts';
import type { PeerConfig, TunnelConfig } from './config.ts';
import { readTunnelConfig } from './read.ts';
import { corpus } from './testing/corpus.ts';
import { writeTunnelConfig } from './write.ts';

const key = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .filter((bytes) => bytes.some((byte) => byte !== 0))
  .map(keyOf);
const ip: fc.Arbitrary<Ip> = fc.oneof(
  fc.integer({ min: 0x01000000, max: 0xdfffffff }).map((value) => value as Ipv4),
  fc.bigInt({ min: 1n << 64n, max: (0xffn << 120n) - 1n }).map((value) => value as Ipv6),
);
const sized = fc
  .tuple(ip, fc.nat(128))
  .map(([address, length]) => ({ address, length: Math.min(length, ipBits(address)) }));
const port = fc.integer({ min: 1, max: 65_535 });
const domain = fc.domain();
const hook = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 80 })
  .map((text) => text.replace(/[#\p{Cc}]/gu, '').trim())
  .filter((text) => text !== '');
const hooks = fc.array(hook, { maxLength: 3 });
const peer = fc.record(
  {
    publicKey: key,
    presharedKey: key,
    endpoint: fc.record({ host: fc.oneof(ip.map(formatIp), domain, fc.constant('fe80::1%eth0')), port }),
    keepalive_s: fc.nat(65_535),
  },
  { requiredKeys: ['publicKey', 'keepalive_s'] },
);
const config: fc.Arbitrary<TunnelConfig> = fc
  .record(
    {
      privateKey: key.map(clamped),
      listenPort: port,
      fwMark: fc.integer({ min: 1, max: 0xffff_ffff }),
      addresses: fc.uniqueArray(sized, { maxLength: 5, selector: ({ address }) => formatIp(address) }),
      dns: fc.record({ servers: fc.array(ip, { maxLength: 3 }), search: fc.array(domain, { maxLength: 3 }) }),
      mtu: fc.integer({ min: 1280, max: 65_535 }),
      table: fc.oneof(fc.constantFrom('auto' as const, 'off' as const), fc.integer({ min: 1, max: 0xffff_ffff })),
      hooks: fc.record({ preUp: hooks, postUp: hooks, preDown: hooks, postDown: hooks }),
      saveConfig: fc.boolean(),
      peers: fc.uniqueArray(peer, { maxLength: 5, selector: ({ publicKey }) => publicKey }),
      allowed: fc.uniqueArray(
        sized.map(({ address, length }) => ipPrefixAround(address, length)),
        { maxLength: 12, selector: formatIpPrefix },
      ),
    },
    { requiredKeys: ['privateKey', 'addresses', 'dns', 'table', 'hooks', 'saveConfig', 'peers', 'allowed'] },
  )
  .map(({ allowed, peers, ...rest }) => ({
    ...rest,
    peers: peers
      .filter(({ publicKey }) => publicKey !== publicKeyOf(rest.privateKey))
      .map((one, index): PeerConfig => {
        return { ...one, allowedIps: allowed.filter((_, at) => at % peers.length === index), line: 0 };
      }),
  }));

it('writes what is read back as it was', () => {
  fc.assert(
    fc.property(config, (wanted) => {
      const read = readTunnelConfig(writeTunnelConfig(wanted));
      expect({ ...read, peers: read.peers.map((one) => ({ ...one, line: 0 })) }).toEqual(wanted);
      expect(writeTunnelConfig(read)).toBe(writeTunnelConfig(wanted));
    }),
    { numRuns: 200 },
  );
});

it('writes no hook that would be read as another, or as something else', () => {
  const [sample] = corpus;
  const plain = readTunnelConfig(sample?.text ?? '');
  for (const line of ['a # b', 'a\nTable = off', '', ' a', 'a\t', 'a\0']) {
    const text = (): string => writeTunnelConfig({ ...plain, hooks: { ...plain.hooks, postUp: [line] } });
    expect(text).toThrow('Cannot write a hook: it is empty, has blanks around it, or has a # or a control character');
  }
});

/** A text that has gone wrong here and there. */
type Change = { readonly at: number; readonly cut: number; readonly put: string };
const change = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.oneof(fc.constant(0), fc.nat(3), fc.nat(60)),
  put: fc.oneof(
    fc.constantFrom(
      '',
      '=',
      ' = ',
      '\n',
      '\r',
      '#',
      ',',
      '/',
      '[',
      ']',
      ':',
      '\0',
      '\u{1b}[',
      '\u{a0}',
      'Endpoint = ',
      '+',
      '0x',
    ),
    fc.string({ unit: 'binary', maxLength: 4 }),
  ),
});

function changed(text: string, { at, cut, put }: Change): string {
  const start = Math.floor(at * text.length);
  return text.slice(0, start) + put + text.slice(start + cut);
}

/** What a failure says, of what lies beneath it too. */
function said(text: string): string {
  try {
    readTunnelConfig(text);
    return '';
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    expect(error.code).toBe('tunnel_config');
    return error.cause instanceof Error ? `${error.message} ${error.cause.message}` : error.message;
  }
}

describe('whatever there is', () => {
  it('is read, or it is said in plain text what is wrong', () => {
    const word = fc.constantFrom(
      '[Interface]',
      '[Peer]',
      'PrivateKey',
      'Address',
      'AllowedIPs',
      'Endpoint',
      'DNS',
      '=',
      '\n',
      ' ',
    );
    const text = fc.array(fc.oneof(word, fc.string({ unit: 'binary', maxLength: 6 })), { maxLength: 40 });
    fc.assert(
      fc.property(
        text.map((words) => words.join('')),
        (garbage) => {
          expect(said(garbage)).not.toMatch(/\p{C}/u);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('shows no secret, where a file went wrong here and there', () => {
    const wanted = fc.tuple(config, fc.array(change, { minLength: 1, maxLength: 4 }));
    fc.assert(
      fc.property(wanted, ([whole, changes]) => {
        const message = said(changes.reduce(changed, writeTunnelConfig(whole)));
        expect(message).not.toMatch(/\p{C}/u);
        const secrets = [whole.privateKey, ...whole.peers.flatMap((one) => one.presharedKey ?? [])];
        for (const secret of secrets) {
          for (let start = 0; start + 20 <= secret.length; start++) {
            expect(message).not.toContain(secret.slice(start, start + 20));
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('shows no secret, wherever one stands', () => {
    const secret = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
    const keys = [
      'ListenPort',
      'FwMark',
      'Address',
      'DNS',
      'MTU',
      'Table',
      'SaveConfig',
      'Unknown',
      'AllowedIPs',
      'Endpoint',
    ];
    const own = `[Interface]\nPrivateKey = ${secret}\n`;
    for (const name of [...keys, 'PublicKeys', 'PersistentKeepalive']) {
      for (const value of [
        secret,
        `${secret}:51820`,
        `[${secret}]:51820`,
        `10.0.0.1:${secret}`,
        `${secret}/32`,
        `a ${secret}`,
      ]) {
        for (const text of [`${own}${name} = ${value}`, `${own}[Peer]\n${name} = ${value}`, `${own}${name}${value}`]) {
          expect(said(text)).not.toContain(secret.slice(0, 20));
        }
      }
    }
    for (const text of [
      secret,
      `[${secret}`,
      `${own}[${secret}]`,
      `${own}${secret} = 5`,
      `${own}PrivateKey: ${secret}`,
    ]) {
      const message = said(text);
      expect(message).toMatch(/^Cannot read /);
      expect(message).not.toContain(secret.slice(0, 20));
    }
  });
});
