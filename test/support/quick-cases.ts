import { deepEqual, equal, ok } from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Vpn } from '../../lab/vpn.ts';
import { VpnClient } from '../../lab/vpn-client.ts';
import { availableWireguard } from '../../src/linux/wireguard/available.ts';
import { corpus, type Sample } from '../../src/tunnel/config/testing/corpus.ts';

/**
 * One file given to wg-quick(8) and to the library, in one namespace one after the other, and what the kernel has then: the
 * differences are those of docs/tunnel.md and no others. Not written for one runner of tests, as tunnel-cases.ts is not.
 */
export type QuickCase = {
  readonly name: string;
  readonly run: (stage: QuickStage) => Promise<void>;
};

/** What wg-quick and culvert are to have in common. */
type State = Readonly<Record<string, readonly string[]>>;

/** Of which wg-quick leads the encrypted packets into the tunnel too. */
const HALVES = 'full-halves';

export class QuickStage implements Disposable {
  readonly #vpn: Vpn;
  readonly #programs: string;
  #client: VpnClient | undefined;

  constructor(vpn: Vpn) {
    this.#vpn = vpn;
    // name servers are compared by what is said to resolvconf, elsewhere
    this.#programs = join(vpn.client.folder, 'bin');
    mkdirSync(this.#programs);
    const stub = join(this.#programs, 'resolvconf');
    writeFileSync(stub, '#!/bin/sh\n[ "$1" != -a ] || cat >/dev/null\n');
    chmodSync(stub, 0o755);
  }

  /** What there is of any tunnel. */
  before(): string {
    const { rules, routes4, routes6, tables, links, sockets } = this.#vpn.state();
    return [rules, routes4, routes6, tables, links, sockets].join('\n');
  }

  byQuick({ path, name }: Sample): State {
    const { client } = this.#vpn;
    const quick = (verb: string): string =>
      client.run('sh', '-c', `PATH=${this.#programs}:$PATH wg-quick ${verb} ${path} 2>&1`);
    const unset = (): string => client.namespace.run('sysctl', '-qw', 'net.ipv4.conf.all.src_valid_mark=0');
    unset();
    quick('up');
    try {
      return this.#stateOf(name);
    } finally {
      quick('down');
      unset();
    }
  }

  async byCulvert({ path, name }: Sample): Promise<State> {
    const { client: host } = this.#vpn;
    this.#client ??= await VpnClient.start(this.#vpn);
    await this.#client.connect({ name, config: readFileSync(path, 'utf8'), timeoutMs: 0 });
    try {
      // what wg(8) looks for is beside the socket of ours
      const socket = join(host.folder, 'wireguard', `${name}.sock`);
      const own = `${join(host.folder, 'run')}/net-*/${name}/${name}.sock`;
      if (availableWireguard() === 'userspace') host.run('sh', '-c', `ln -sf ${own} ${socket}`);
      return this.#stateOf(name);
    } finally {
      await this.#client.disconnect();
      host.run('rm', '-f', join(host.folder, 'wireguard', `${name}.sock`));
    }
  }

  [Symbol.dispose](): void {
    this.#client?.[Symbol.dispose]();
  }

  #stateOf(name: string): State {
    const { client } = this.#vpn;
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
      device: deviceLines(client.run('wg', 'show', name, 'dump')),
      rules: lines('nft', 'list', 'ruleset')
        .flatMap((line) => ruleIn(line) ?? [])
        .toSorted(),
    };
  }
}

/** Whose a route or a rule is, culvert says; indexes of links are the kernel's to choose. */
const plain = (line: string): string =>
  line
    .replace(/ proto 203\b/, '')
    .replace(/^\d+: (?=\S)/, '')
    .trim();

/** As `wg show` has it, but for a port that nobody chose. */
function deviceLines(dump: string): string[] {
  const [own = '', ...peers] = dump.trimEnd().split('\n');
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

async function isTheSame(sample: Sample, stage: QuickStage): Promise<void> {
  const empty = stage.before();
  const { rules: quickRules = [], ...quick } = stage.byQuick(sample);
  equal(stage.before(), empty);
  const { rules = [], ...own } = await stage.byCulvert(sample);
  deepEqual(own, quick);
  // one table for both families: also the addresses of the one without a default route are guarded
  deepEqual(
    quickRules.filter((rule) => !rules.includes(rule)),
    [],
  );
  deepEqual(
    rules.filter((rule) => !quickRules.includes(rule) && !/ daddr .* drop$/.test(rule)),
    [],
  );
  equal(stage.before(), empty);
}

async function isNoLoop(sample: Sample, stage: QuickStage): Promise<void> {
  const empty = stage.before();
  const quick = stage.byQuick(sample);
  const own = await stage.byCulvert(sample);
  ok(quick['routes4']?.includes(`0.0.0.0/1 dev ${HALVES} scope link`));
  ok(own['routes4']?.includes(`0.0.0.0/1 dev ${HALVES} table 51820 scope link`));
  ok(own['rules4']?.includes('32765:\tnot from all fwmark 0xca6c lookup 51820'));
  equal(stage.before(), empty);
}

export const quickCases: readonly QuickCase[] = corpus.map((sample) =>
  sample.name === HALVES
    ? {
        name: `${sample.name}, of which wg-quick makes a loop, is a default route`,
        run: (stage) => isNoLoop(sample, stage),
      }
    : {
        name: `${sample.name} is what wg-quick makes of it, and is gone when it ends`,
        run: (stage) => isTheSame(sample, stage),
      },
);
