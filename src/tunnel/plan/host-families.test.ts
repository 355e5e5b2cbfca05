import { expect, it } from 'vitest';
import { formatIpPrefix } from '../../addr/ip-prefix.ts';
import { withOptions } from '../config/options.ts';
import { readTunnelConfig } from '../config/read.ts';
import { withoutIpv6 } from './host-families.ts';

const configOf = (addresses: string, allowed: string): ReturnType<typeof withOptions> =>
  withOptions(
    readTunnelConfig(
      `[Interface]\nPrivateKey = eCsH4qEIZNay7CHMZAK7C0S1TBh91ENAKFxrZ6DIjVE=\n${addresses}\n[Peer]\nPublicKey = aqk0FNXwEkp808F4WcpNUt9bbpGfLJmddvv1IGQtVgk=\nAllowedIPs = ${allowed}\n`,
    ),
  );

it('has what a host without IPv6 can have', () => {
  const config = withoutIpv6(configOf('Address = 10.9.0.2/24, fd09::2/64', '0.0.0.0/0, ::/0'));
  expect([config.addresses, config.routed].map((all) => all.map(formatIpPrefix))).toEqual([
    ['10.9.0.2/24'],
    ['0.0.0.0/0'],
  ]);
  // what the peer may send stays as the file says
  expect(config.peers[0]?.allowedIps).toHaveLength(2);
  expect(() => withoutIpv6(configOf('', '10.0.0.0/8'))).not.toThrow();
});

it.each([
  ['Address = fd09::2/64', '::/0'],
  ['Address = fd09::2/64', '0.0.0.0/0'],
  ['Address = 10.9.0.2/24', '::/0'],
])('is nothing where %s and %s are all', (addresses, allowed) => {
  expect(() => withoutIpv6(configOf(addresses, allowed))).toThrow(/for IPv6 alone/);
});
