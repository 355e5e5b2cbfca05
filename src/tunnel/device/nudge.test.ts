import { expect, it } from 'vitest';
import type { Peer } from '../../plan/wireguard/device.ts';
import { editText } from '../../plan/wireguard/edit.ts';
import { parseEndpoint } from '../../plan/wireguard/endpoint.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { nudge, renewal } from './nudge.ts';

const ENDPOINT = parseEndpoint('192.0.2.1:51820');
const peer = (keepalive_s: number): Peer => ({ publicKey: 'K' as Key, keepalive_s, allowedIps: [] });
const texts = (edits: ReturnType<typeof nudge>): string[] =>
  edits.map((some) => some.map((edit) => editText('vpn', edit)).join(' ; '));

it('has a peer be sent to anew, and leaves what keeps alive as it is to be', () => {
  expect(texts(nudge(peer(0), ENDPOINT))).toEqual([
    'wg set vpn peer K endpoint 192.0.2.1:51820 persistent-keepalive off',
    'wg set vpn peer K persistent-keepalive 5',
    'wg set vpn peer K persistent-keepalive off',
  ]);
  expect(texts(nudge(peer(25), ENDPOINT)).at(-1)).toBe('wg set vpn peer K persistent-keepalive 25');
});

it('has a session begin anew, in one message with the end of the old one', () => {
  const [first, ...rest] = texts(renewal(peer(25), ENDPOINT));
  expect(first).toMatch(/^wg set vpn peer K remove ; wg set vpn peer K .*endpoint 192\.0\.2\.1:51820/);
  expect(rest.at(-1)).toBe('wg set vpn peer K persistent-keepalive 25');
});
