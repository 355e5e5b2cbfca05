import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Vpn } from '../lab/vpn.ts';
import { corpus, type Sample } from '../src/tunnel/config/testing/corpus.ts';
import { CULVERT, lineOf } from './support/command-line.ts';

/*
 * The same file given to wg-quick(8) and to culvert, in one namespace one after the other, and what the kernel has then:
 * the differences are those of docs/tunnel.md and no others.
 */

let vpn: Vpn;
let programs: string;

beforeAll(async () => {
  vpn = await Vpn.make();
  // name servers are compared by what is said to resolvconf, elsewhere
  programs = join(vpn.client.folder, 'bin');
  mkdirSync(programs);
  writeFileSync(join(programs, 'resolvconf'), '#!/bin/sh\n[ "$1" != -a ] || cat >/dev/null\n');
  chmodSync(join(programs, 'resolvconf'), 0o755);
});
afterAll(() => vpn[Symbol.asyncDispose]());

/** Of which wg-quick leads the encrypted packets into the tunnel too. */
const HALVES = 'full-halves';

type State = Readonly<Record<string, readonly string[]>>;

/** What wg-quick and culvert are to have in common. */
function stateOf(name: string): State {
  const { client } = vpn;
  const lines = (...command: string[]): string[] =>
    client
      .run(...command)
      .split('\n')
      .filter((line) => line !== '');
  const sorted = (...command: string[]): string[] =>
    lines(...command)
      .map(plain)
      .toSorted();
  return {
    link: lines('ip', '-o', 'link', 'show', name).map((line) => /mtu \d+|,UP,|state \w+/g.exec(line)?.[0] ?? ''),
    size: [/mtu \d+/.exec(client.run('ip', 'link', 'show', name))?.[0] ?? ''],
    addresses: sorted('ip', '-o', 'address', 'show', name).filter((line) => !line.includes('fe80::')),
    rules4: sorted('ip', '-4', 'rule'),
    rules6: sorted('ip', '-6', 'rule'),
    routes4: sorted('ip', '-4', 'route', 'show', 'table', 'all'),
    routes6: sorted('ip', '-6', 'route', 'show', 'table', 'all').filter((line) => !line.includes('fe80::')),
    mark: lines('sysctl', '-n', 'net.ipv4.conf.all.src_valid_mark'),
    device: deviceLines(name),
    rules: lines('nft', 'list', 'ruleset')
      .flatMap((line) => ruleIn(line) ?? [])
      .toSorted(),
  };
}

/** Whose a route or a rule is, culvert says; indexes of links are the kernel's to choose. */
const plain = (line: string): string =>
  line
    .replace(/ proto 203\b/, '')
    .replace(/^\d+: (?=\S)/, '')
    .trim();

/** As `wg show` has it, but for a port that nobody chose. */
function deviceLines(name: string): string[] {
  const [own = '', ...peers] = vpn.client.run('wg', 'show', name, 'dump').trimEnd().split('\n');
  const [privateKey, publicKey, , fwMark] = own.split('\t');
  const peerLines = peers.map((line) =>
    line
      .split('\t')
      .filter((_, index) => ![4, 5, 6].includes(index))
      .join(' '),
  );
  return [`${privateKey} ${publicKey} ${fwMark}`, ...peerLines.toSorted()];
}

/** A rule of nftables, in the one way of two in which nft(8) says marks. */
function ruleIn(line: string): string | undefined {
  const text = line
    .trim()
    .replace(/\bmeta mark (?!set)/, 'mark ')
    .replace(/ct mark set (meta )?mark/, 'ct mark set mark')
    // of all packets of UDP, or of those whose flow keeps it
    .replace(/ct mark 0x\S+ (meta mark set ct mark)/, '$1');
  return /\b(drop|mark set|ct mark)\b/.test(text) ? text.replace(/0x0*/, '0x') : undefined;
}

function before(): string {
  const { rules, routes4, routes6, tables, links, sockets } = vpn.state();
  return [rules, routes4, routes6, tables, links, sockets].join('\n');
}

function byQuick({ path, name }: Sample): State {
  const quick = (verb: string): string =>
    vpn.client.run('sh', '-c', `PATH=${programs}:$PATH wg-quick ${verb} ${path} 2>&1`);
  vpn.client.namespace.run('sysctl', '-qw', 'net.ipv4.conf.all.src_valid_mark=0');
  quick('up');
  try {
    return stateOf(name);
  } finally {
    quick('down');
    vpn.client.namespace.run('sysctl', '-qw', 'net.ipv4.conf.all.src_valid_mark=0');
  }
}

async function byCulvert({ path, name }: Sample): Promise<State> {
  const folders = ['--run-dir', join(vpn.client.folder, 'run'), '--state-dir', join(vpn.client.folder, 'state')];
  const child = vpn.client.start(CULVERT, 'connect', path, '--timeout', '0', ...folders);
  try {
    await lineOf(child, /is connected/);
    // what wg(8) looks for is beside the socket of ours
    const sockets = join(vpn.client.folder, 'wireguard', `${name}.sock`);
    const own = vpn.client.run('sh', '-c', `ls ${join(vpn.client.folder, 'run')}/net-*/${name}/${name}.sock`).trim();
    vpn.client.run('ln', '-sf', own, sockets);
    return stateOf(name);
  } finally {
    const exit = new Promise((resolve) => void child.once('exit', resolve));
    child.kill('SIGTERM');
    await exit;
    vpn.client.run('rm', '-f', join(vpn.client.folder, 'wireguard', `${name}.sock`));
  }
}

describe('what is there by the file', { timeout: 60_000 }, () => {
  it.each(corpus.filter(({ name }) => name !== HALVES))(
    '$name is what wg-quick makes of it, and is gone when it ends',
    async (sample) => {
      const empty = before();
      const { rules: quickRules = [], ...quick } = byQuick(sample);
      expect(before()).toBe(empty);
      const { rules = [], ...own } = await byCulvert(sample);
      expect(own).toEqual(quick);
      // one table for both families: also the addresses of the one without a default route are guarded
      expect(rules).toEqual(expect.arrayContaining([...new Set(quickRules)]));
      expect(rules.filter((rule) => !quickRules.includes(rule) && !/ daddr .* drop$/.test(rule))).toEqual([]);
      expect(before()).toBe(empty);
    },
  );

  it('is a default route where that is in two halves, of which wg-quick makes a loop', async () => {
    const sample = corpus.find(({ name }) => name === HALVES);
    if (sample === undefined) throw new Error('There is one');
    const empty = before();
    const quick = byQuick(sample);
    const own = await byCulvert(sample);
    expect(quick['routes4']).toContain(`0.0.0.0/1 dev ${HALVES} scope link`);
    expect(own['routes4']).toContain(`0.0.0.0/1 dev ${HALVES} table 51820 scope link`);
    expect(own['rules4']).toContain('32765:\tnot from all fwmark 0xca6c lookup 51820');
    expect(before()).toBe(empty);
  });
});
