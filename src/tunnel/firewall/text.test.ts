import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { parseIp } from '../../addr/ip.ts';
import { parseIpPrefix } from '../../addr/ip-prefix.ts';
import { instructions, LIST } from '../../linux/nftables/testing/instructions.ts';
import { bringTo } from './keeper.ts';
import { killSwitchTable } from './kill-switch.ts';
import { firewallText } from './table.ts';
import { wayTable } from './way.ts';

const MARK = 51_820;

const tables = [
  ['way', wayTable({ name: 'wg0', mark: MARK, addresses: ['10.8.0.2', 'fd08::2'].map(parseIp) })],
  [
    'kill-switch',
    killSwitchTable({
      name: 'wg0',
      mark: MARK,
      endpoints: [
        { address: parseIp('192.0.2.7'), port: 51_820 },
        { address: parseIp('2001:db8::7'), port: 443 },
        // as a resolver is asked
        { address: parseIp('192.0.2.53'), port: 53 },
      ],
      resolvers: ['192.0.2.53', '2001:db8::53'].map(parseIp),
      // of some that overlap the outer ones alone
      allow: ['192.168.1.0/25', '192.168.0.0/16', '192.168.0.0/16', '10.0.0.0/8', 'fd00::/8', 'fd00::/64'].map(
        parseIpPrefix,
      ),
    }),
  ],
] as const;

it.each(tables)('%s reads as written down', async (name, table) => {
  await expect(`${firewallText(table)}\n`).toMatchFileSnapshot(`./golden/${name}.txt`);
});

describe('the text, read by nft', () => {
  let byText: LabNamespace;
  let byCodec: LabNamespace;

  beforeAll(async () => {
    [byText, byCodec] = await Promise.all([LabNamespace.make(), LabNamespace.make()]);
  });

  afterAll(async () => {
    await Promise.all([byText.close(), byCodec.close()]);
  });

  it('makes what the codec makes', () => {
    const lines = tables.flatMap(([, table]) => firewallText(table).split('\n'));
    byText.feed(lines.map((line) => line.replace(/^nft /, '')).join('\n'), 'nft', '-f', '-');
    using netfilter = byCodec.netfilter();
    for (const [, table] of tables) bringTo(netfilter, table);
    const listed = instructions(byCodec.run('nft', ...LIST));
    expect(listed.join('\n').match(/^ {2}\[/gm)?.length).toBeGreaterThan(80);
    expect(instructions(byText.run('nft', ...LIST))).toEqual(listed);
    // as a person reads both, with the names that nft(8) has for what it understands
    const plain = (namespace: LabNamespace): string =>
      namespace.run('nft', '-s', 'list', 'ruleset').replaceAll(/\n\tcomment .*/g, '');
    expect(plain(byText)).toBe(plain(byCodec));
    expect(plain(byCodec)).toContain('fib saddr type != local drop');
  });
});

it('is refused where it cannot tell or hold what it is given', () => {
  const options = { name: 'wg0', mark: MARK, endpoints: [], resolvers: [], allow: [] };
  expect(() => killSwitchTable({ ...options, mark: 0 })).toThrow('want 1 to 4294967295');
  expect(() => killSwitchTable({ ...options, name: 'wg*' })).toThrow('Cannot name a tunnel "wg*"');
  expect(() => wayTable({ name: 'sixteen_letters_', mark: MARK, addresses: [] })).toThrow('1 to 15');
  const many = Array.from({ length: 2049 }, (_, index) => parseIpPrefix(`10.${index >> 8}.${index & 255}.0/32`));
  expect(() => killSwitchTable({ ...options, allow: many })).toThrow(
    '2049 allowed prefixes of one family: at most 2048',
  );
  const endpoints = Array.from({ length: 8193 }, (_, index) => ({ address: parseIp('::1'), port: index }));
  expect(() => killSwitchTable({ ...options, endpoints })).toThrow('8193 endpoints and resolvers');
});
