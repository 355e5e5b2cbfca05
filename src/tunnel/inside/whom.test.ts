import { expect, it } from 'vitest';
import { formatIp } from '../../addr/ip.ts';
import { readTunnelConfig } from '../config/read.ts';
import { whomToAsk } from './whom.ts';

const KEY = 'aPxGwq8zERHQ3Q1cOZFdJ+cvJX5Ka4mLN38AyYKYF10=';
const whom = (address: string, allowed: string, dns = ''): string[] => {
  const text = `[Interface]\nPrivateKey = ${KEY}\nAddress = ${address}\n${dns === '' ? '' : `DNS = ${dns}\n`}[Peer]\nPublicKey = ${KEY}\nAllowedIPs = ${allowed}\n`;
  const config = readTunnelConfig(text);
  const [peer] = config.peers;
  if (peer === undefined) throw new Error('no peer');
  return whomToAsk(config, peer).map((one) => `${formatIp(one.address)}${one.isNext ? ' next' : ''}`);
};

it('are name servers, hosts, and first addresses, where the peer is sent to for them', () => {
  expect(whom('10.66.1.2/32', '0.0.0.0/0, ::/0', '10.64.0.1')).toEqual(['10.64.0.1', '192.0.2.1 next']);
  expect(whom('10.9.0.2/24, fd09::2/64', '0.0.0.0/0, ::/0')).toEqual(['10.9.0.1', 'fd09::1', '192.0.2.1 next']);
  expect(whom('10.9.0.2/24', '10.9.0.1/32', '9.9.9.9')).toEqual(['10.9.0.1']);
  expect(whom('10.9.0.1/24', '10.9.0.0/24')).toEqual([]);
  expect(whom('10.9.0.2/32', '172.16.0.0/12')).toEqual(['172.16.0.1', '172.31.255.254 next']);
});

it('have a family that the tunnel has', () => {
  expect(whom('fd09::2/64', '0.0.0.0/0, ::/0', '10.64.0.1')).toEqual(['fd09::1', '2001:db8::1 next']);
});
