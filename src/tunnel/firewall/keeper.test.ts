import { beforeEach, describe, expect, it } from 'vitest';
import { parseIp } from '../../addr/ip.ts';
import { parseIpPrefix } from '../../addr/ip-prefix.ts';
import { readGeneration } from '../../linux/nftables/generation.ts';
import { nft, useOwnNamespace } from '../../linux/nftables/testing/own-namespace.ts';
import { bringTo, difference, listFirewalls, removeFirewall } from './keeper.ts';
import { type KillSwitchOptions, killSwitchTable } from './kill-switch.ts';
import { wayTable } from './way.ts';

const own = useOwnNamespace();

const OPTIONS: KillSwitchOptions = {
  name: 'wg0',
  mark: 51_820,
  endpoints: [
    { address: parseIp('192.0.2.7'), port: 51_820 },
    { address: parseIp('2001:db8::7'), port: 51_820 },
  ],
  resolvers: [parseIp('192.0.2.53')],
  allow: ['10.0.0.0/8', '10.1.0.0/16', '255.0.0.0/8', 'fd00::/8', 'ffff::/16'].map(parseIpPrefix),
};
const KILL = killSwitchTable(OPTIONS);
const WAY = wayTable({ name: 'wg0', mark: 51_820, addresses: [parseIp('10.8.0.2'), parseIp('fd08::2')] });
const TABLE = ['inet', 'culvert_kill_wg0'];

/** What nft(8) says of it: without handles, which differ, and elements in an order of their own. */
function listed(): string {
  const lines = nft('-s', 'list', 'table', ...TABLE).split('\n');
  return lines.map((line) => line.split(/[ ,]+/).toSorted().join(' ')).join('\n');
}

beforeEach(() => {
  nft('flush', 'ruleset');
});

describe('a table of a tunnel', () => {
  it('is written once, and then left alone', () => {
    for (const table of [KILL, WAY]) {
      const [text] = bringTo(own.netfilter, table);
      expect(text).toBe(`replace table inet ${table.ruleset.table.name}`);
      const generation = readGeneration(own.netfilter);
      expect(bringTo(own.netfilter, table)).toEqual([]);
      expect(readGeneration(own.netfilter)).toBe(generation);
    }
  });

  it('is changed by its elements alone where the endpoints change, in one transaction', () => {
    bringTo(own.netfilter, KILL);
    const generation = readGeneration(own.netfilter);
    const moved = killSwitchTable({
      ...OPTIONS,
      endpoints: [{ address: parseIp('192.0.2.8'), port: 51_820 }],
      allow: [parseIpPrefix('10.0.0.0/9')],
    });
    expect(bringTo(own.netfilter, moved)).toEqual(
      [
        'delete element inet culvert_kill_wg0 marked4 { 192.0.2.7 . udp . 51820 }',
        'add element inet culvert_kill_wg0 marked4 { 192.0.2.8 . udp . 51820 comment "endpoint" }',
        'delete element inet culvert_kill_wg0 marked6 { 2001:db8::7 . udp . 51820 }',
        'delete element inet culvert_kill_wg0 allowed4 { 10.0.0.0-10.255.255.255 }',
        'delete element inet culvert_kill_wg0 allowed4 { 255.0.0.0-255.255.255.255 }',
        'add element inet culvert_kill_wg0 allowed4 { 10.0.0.0-10.127.255.255 }',
        'delete element inet culvert_kill_wg0 allowed6 { fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }',
        'delete element inet culvert_kill_wg0 allowed6 { ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }',
      ].map((line) => `nft ${line}`),
    );
    expect(readGeneration(own.netfilter)).toBe(generation + 1);
    bringTo(own.netfilter, KILL);
    expect(difference(own.netfilter, KILL)).toEqual([]);
  });

  it.each([
    ['a rule is missing', 'flush', 'chain', ...TABLE, 'postrouting'],
    ['a rule was added', 'insert', 'rule', ...TABLE, 'pass', 'accept'],
    ['a policy is another', 'add', 'chain', ...TABLE, 'output', '{ policy accept; }'],
    ['it was put to sleep', 'add', 'table', ...TABLE, '{ flags dormant; }'],
    ['an endpoint was added', 'add', 'element', ...TABLE, 'marked4', '{ 192.0.2.66 . udp . 51820 }'],
    ['an endpoint is missing', 'delete', 'element', ...TABLE, 'marked6', '{ 2001:db8::7 . udp . 51820 }'],
    ['a network was allowed', 'add', 'element', ...TABLE, 'allowed6', '{ 2001:db8::/32 }'],
    ['a constant is missing', 'delete', 'element', ...TABLE, 'neighbours', '{ 135 }'],
    ['a port was added', 'flush', 'set', ...TABLE, 'dhcp'],
    ['it is gone', 'delete', 'table', ...TABLE],
  ])('is put right where %s', (_, ...change) => {
    bringTo(own.netfilter, KILL);
    const before = listed();
    nft(...change);
    const lines = difference(own.netfilter, KILL);
    expect(lines).not.toEqual([]);
    expect(bringTo(own.netfilter, KILL)).toEqual(lines);
    expect(listed()).toBe(before);
    expect(difference(own.netfilter, KILL)).toEqual([]);
  });

  it('is another with another mark, and takes the place of the former', () => {
    bringTo(own.netfilter, WAY);
    const other = wayTable({ name: 'wg0', mark: 7, addresses: [] });
    expect(bringTo(own.netfilter, other)).toEqual(['replace table inet culvert_tunnel_wg0']);
    expect(nft('list', 'table', 'inet', 'culvert_tunnel_wg0')).toContain('meta mark 0x00000007 ct mark set meta mark');
  });

  it('holds as many endpoints and networks as it says', () => {
    const endpoints = Array.from({ length: 8192 }, (_, index) => ({ address: parseIp('2001:db8::7'), port: index }));
    const allow = Array.from({ length: 2048 }, (_, index) =>
      parseIpPrefix(`2001:db8:${(2 * index).toString(16)}::/48`),
    );
    const full = killSwitchTable({ ...OPTIONS, endpoints, allow });
    bringTo(own.netfilter, full);
    expect(difference(own.netfilter, full)).toEqual([]);
  });
});

describe('the tables of tunnels', () => {
  it('are those of their names that were made here', () => {
    expect(listFirewalls(own.netfilter)).toEqual([]);
    bringTo(own.netfilter, KILL);
    bringTo(own.netfilter, WAY);
    bringTo(own.netfilter, wayTable({ name: 'b=+.-_', mark: 1, addresses: [] }));
    nft('add', 'table', 'inet', 'culvert_tunnel_mine');
    nft('add', 'table', 'inet', 'culvert_kill_mine', '{ comment "mine"; }');
    nft('add', 'table', 'inet', 'culvert');
    nft('add', 'table', 'ip', 'culvert_kill_other');
    const table = (name: string): object => ({ family: 'inet', name });
    expect(listFirewalls(own.netfilter)).toEqual([
      { purpose: 'kill switch', tunnel: 'wg0', table: table('culvert_kill_wg0') },
      { purpose: 'way', tunnel: 'wg0', table: table('culvert_tunnel_wg0') },
      { purpose: 'way', tunnel: 'b=+.-_', table: table('culvert_tunnel_b=+.-_') },
    ]);
  });

  it('are removed by name, whatever has become of them, and others are not', () => {
    bringTo(own.netfilter, KILL);
    bringTo(own.netfilter, WAY);
    nft('flush', 'table', ...TABLE);
    nft('add', 'chain', ...TABLE, 'foreign');
    expect(removeFirewall(own.netfilter, 'kill switch', 'wg0')).toBe(true);
    expect(removeFirewall(own.netfilter, 'kill switch', 'wg0')).toBe(false);
    expect(nft('list', 'tables')).toBe('table inet culvert_tunnel_wg0\n');
    nft('add', 'table', 'inet', 'culvert_kill_wg0');
    expect(() => removeFirewall(own.netfilter, 'kill switch', 'wg0')).toThrow('nft delete table inet culvert_kill_wg0');
    expect(() => bringTo(own.netfilter, KILL)).toThrow('Cannot take over table inet culvert_kill_wg0');
    expect(nft('list', 'tables')).toContain('culvert_kill_wg0');
  });

  it('are ours again after they were saved and loaded by nft', () => {
    bringTo(own.netfilter, WAY);
    const saved = nft('list', 'ruleset');
    nft('flush', 'ruleset');
    nft(saved);
    expect(listFirewalls(own.netfilter).map(({ tunnel }) => tunnel)).toEqual(['wg0']);
    expect(removeFirewall(own.netfilter, 'way', 'wg0')).toBe(true);
  });
});
