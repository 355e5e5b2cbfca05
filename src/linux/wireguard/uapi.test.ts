import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIpPrefix } from '../../addr/ip-prefix.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parseIpv6 } from '../../addr/ipv6.ts';
import { keyOf } from '../../plan/wireguard/key.ts';
import { readDevice, setText } from './uapi.ts';

const [first, second, secret] = [1, 2, 3].map((byte) => keyOf(new Uint8Array(32).fill(byte)));
const hex = (byte: number): string => byte.toString(16).padStart(2, '0').repeat(32);
if (first === undefined || second === undefined || secret === undefined) throw new Error('There are three');

describe('what is said to a device', () => {
  it('is its own settings, then each edit in its order', () => {
    const text = setText([
      { verb: 'remove', publicKey: first },
      { verb: 'set', privateKey: secret, listenPort: 51_820, fwMark: 0xca6c },
      {
        verb: 'add',
        peer: {
          publicKey: second,
          presharedKey: secret,
          endpoint: { address: parseIpv4('192.0.2.2'), port: 51_820 },
          keepalive_s: 25,
          allowedIps: ['10.64.16.0/20', '2001:db8::/32'].map(parseIpPrefix),
        },
      },
      { verb: 'change', peer: { publicKey: first, presharedKey: 'none', keepalive_s: 0, allowedIps: [] } },
      { verb: 'set', fwMark: 0 },
      {
        verb: 'change',
        peer: { publicKey: first, endpoint: { address: parseIpv6('fe80::1'), port: 51_820, scopeId: 2 } },
      },
    ]);
    expect(text).toBe(`set=1
private_key=${hex(3)}
listen_port=51820
fwmark=51820
fwmark=0
public_key=${hex(1)}
remove=true
public_key=${hex(2)}
preshared_key=${hex(3)}
endpoint=192.0.2.2:51820
persistent_keepalive_interval=25
replace_allowed_ips=true
allowed_ip=10.64.16.0/20
allowed_ip=2001:db8::/32
public_key=${hex(1)}
update_only=true
preshared_key=${hex(0)}
persistent_keepalive_interval=0
replace_allowed_ips=true
public_key=${hex(1)}
update_only=true
endpoint=[fe80::1%2]:51820

`);
  });
});

describe('what a device answers', () => {
  it('is read, of both families', () => {
    const device = readDevice(`private_key=${hex(3)}
listen_port=51820
fwmark=4294967295
public_key=${hex(1)}
preshared_key=${hex(0)}
protocol_version=1
endpoint=192.0.2.2:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=500000000
tx_bytes=7
rx_bytes=8
persistent_keepalive_interval=25
allowed_ip=10.64.16.0/20
allowed_ip=fd00::/64
public_key=${hex(2)}
preshared_key=${hex(3)}
endpoint=[fe80::1%2]:51820
`);
    expect(device).toEqual({
      privateKey: secret,
      listenPort: 51_820,
      fwMark: 0xffffffff,
      peers: new Map([
        [
          first,
          {
            publicKey: first,
            endpoint: { address: parseIpv4('192.0.2.2'), port: 51_820 },
            keepalive_s: 25,
            allowedIps: ['10.64.16.0/20', 'fd00::/64'].map(parseIpPrefix),
            lastHandshakeMs: 1_700_000_000_500,
            received: 8,
            sent: 7,
          },
        ],
        [
          second,
          {
            publicKey: second,
            presharedKey: secret,
            endpoint: { address: parseIpv6('fe80::1'), port: 51_820, scopeId: 2 },
            keepalive_s: 0,
            allowedIps: [],
            lastHandshakeMs: 0,
            received: 0,
            sent: 0,
          },
        ],
      ]),
    });
  });

  it('is nothing of a device that was just made', () => {
    expect(readDevice(`private_key=${hex(0)}\nlisten_port=0\n`)).toEqual({
      listenPort: 0,
      fwMark: 0,
      peers: new Map(),
    });
  });

  it('is read or refused, whatever it holds', () => {
    const line = fc.oneof(
      fc.string(),
      fc
        .constantFrom('public_key', 'allowed_ip', 'endpoint', 'private_key')
        .chain((name) =>
          fc
            .oneof(fc.string(), fc.constantFrom(hex(1), '10.0.0.0/8', 'fd00::/8', '1.2.3.4:5', '[::1%1]:5'))
            .map((value) => `${name}=${value}`),
        ),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        try {
          readDevice(lines.join('\n'));
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^invalid_/) });
        }
      }),
    );
  });
});
