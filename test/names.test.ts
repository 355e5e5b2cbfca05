import { createSocket } from 'node:dgram';
import { closeSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode, encode } from 'dns-packet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LabHost, OUTSIDE_ADDRESS } from '../lab/host.ts';
import { LineProcess } from '../lab/line-process.ts';
import { StandIn } from '../lab/stand-in/stand-in.ts';
import { formatIpv4, parseIpv4 } from '../src/addr/ipv4.ts';
import type { SandboxResource, StatusResource } from '../src/api/client/client.ts';
import { sandboxView } from '../src/api/view.ts';
import { Responder } from '../src/dns/responder.ts';
import { dataOf, edns, queryFor, type Reply, readReply } from '../src/dns/testing/ask.ts';
import { namesOf } from '../src/dns/testing/team.ts';
import { TOPOLOGIES, type Topology } from '../src/ipam/lease.ts';
import { openService } from '../src/linux/inet/service.ts';
import { NamespaceHandle } from '../src/linux/namespace.ts';
import type { Sandbox } from '../src/sandbox/sandbox.ts';
import type { Heard, Order } from './support/asker.ts';
import { CommandLine, ended } from './support/command-line.ts';
import { LabDaemon } from './support/lab-daemon.ts';

/*
 *     guest ── tap0 vm eth0 ──┐
 *                   ns eth0 ──┼── router 10.12.0.1:53 ── host ── outside 192.0.2.1:53
 *                   br eth0 ──┘
 *
 * Who asks is told the names of its group by the router, and goes to another server for the rest.
 */

const ASKER = new URL('support/asker.ts', import.meta.url).pathname;
const RESOLVER = '10.12.0.1';
const POLICY = { egress: 'none', allow: [], deny: [] } as const;

/** Somebody in a sandbox. */
class Asker implements Disposable {
  readonly #process: LineProcess;

  constructor(netns: string) {
    this.#process = new LineProcess(netns, process.execPath, [ASKER, RESOLVER]);
  }

  async hear(by: 'udp' | 'tcp', message: Buffer): Promise<Heard> {
    return this.#order({ by, message: message.toString('base64') });
  }

  /** @throws Error where there is no answer */
  async ask(by: 'udp' | 'tcp', message: Buffer): Promise<Reply> {
    const heard = await this.hear(by, message);
    if (!('answer' in heard)) throw new Error(`No answer, but ${heard.nothing}`);
    expect(heard.from).toBe(RESOLVER);
    return readReply(Buffer.from(heard.answer, 'base64'));
  }

  async flood(message: Buffer, count: number): Promise<void> {
    await this.#order({ by: 'flood', message: message.toString('base64'), count });
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
  }

  async #order(order: Order): Promise<Heard> {
    return JSON.parse(await this.#process.ask(JSON.stringify(order))) as Heard;
  }
}

describe('a sandbox', () => {
  const used = new AsyncDisposableStack();
  const sandboxes = {} as Record<Topology, Sandbox>;
  const askers = {} as Record<Topology, Asker>;
  let daemon: LabDaemon;
  let walker: Sandbox;
  let responder: Responder;

  beforeAll(async () => {
    daemon = used.use(new LabDaemon());
    for (const topology of TOPOLOGIES) sandboxes[topology] = daemon.create(topology, topology, POLICY);
    const { microvm, netns, bridge } = sandboxes;
    walker = daemon.create('walker', 'netns', { ...POLICY, egress: 'open' });
    const guest = used.use(await StandIn.start(daemon.lab, 'guest', { ...sandboxView(microvm), tap: 'tap0' }));
    for (const topology of TOPOLOGIES) {
      const inside = topology === 'microvm' ? guest.netns : sandboxes[topology].netns;
      askers[topology] = used.use(new Asker(inside));
    }
    const names = namesOf({
      team: {
        microvm: [formatIpv4(microvm.hostAddress)],
        netns: [formatIpv4(netns.hostAddress)],
        bridge: [formatIpv4(bridge.hostAddress), '10.64.16.7'],
        walker: [formatIpv4(walker.hostAddress)],
        many: Array.from({ length: 90 }, (_, index) => `10.64.17.${index}`),
      },
      rivals: { web: ['10.64.18.1'] },
    });
    const sockets = daemon.with((core) => core.names.take());
    if (sockets === undefined) throw new Error('There are no sockets to answer at');
    responder = used.adopt(new Responder(names, sockets), (one) => one.close());
  });
  afterAll(() => used.disposeAsync());

  describe.each(TOPOLOGIES)('%s', (topology) => {
    it.each(['udp', 'tcp'] as const)('is told names by %s, whatever its policy', async (by) => {
      const asker = askers[topology];
      for (const other of TOPOLOGIES) {
        const reply = await asker.ask(by, queryFor(`${other}.team.culvert`));
        expect(dataOf(reply)[0]).toBe(formatIpv4(sandboxes[other].hostAddress));
      }
      expect(dataOf(await asker.ask(by, queryFor('bridge.team.culvert')))).toHaveLength(2);
      expect(await asker.ask(by, queryFor('web.rivals.culvert'))).toMatchObject({ rcode: 'NXDOMAIN' });
      expect(await asker.ask(by, queryFor('example.org'))).toMatchObject({ rcode: 'REFUSED' });
    });

    it('is told its own name by its address', async () => {
      const address = formatIpv4(sandboxes[topology].hostAddress);
      const name = `${address.split('.').toReversed().join('.')}.in-addr.arpa`;
      expect(dataOf(await askers[topology].ask('udp', queryFor(name, 'PTR')))).toEqual([`${topology}.team.culvert`]);
    });

    it('is told by TCP what is too long for a datagram', async () => {
      const asker = askers[topology];
      const query = queryFor('many.team.culvert', 'A', { additionals: [edns(4096)] });
      const cut = await asker.ask('udp', query);
      expect(cut.flag_tc).toBe(true);
      expect(dataOf(cut).length).toBeGreaterThan(10);
      expect(dataOf(await asker.ask('tcp', query))).toHaveLength(90);
    });
  });

  it('is answered while another floods', async () => {
    const query = queryFor('netns.team.culvert');
    const over = (): number => {
      const router = sandboxes.netns.netns.replace(/[^/]*$/, 'router');
      const chain = daemon.lab.run(router, 'nft', 'list', 'chain', 'inet', 'culvert', 'asked');
      return Number(/counter packets (\d+)/.exec(chain)?.[1]);
    };
    const flood = askers.netns.flood(query, 20_000);
    for (const asker of [askers.microvm, askers.bridge]) {
      for (let count = 0; count < 20; count++)
        expect(await asker.ask('udp', query)).toMatchObject({ rcode: 'NOERROR' });
    }
    await flood;
    expect(responder.failure).toBeUndefined();
    expect(over()).toBeGreaterThan(10_000);
    expect(await askers.bridge.ask('tcp', query)).toMatchObject({ rcode: 'NOERROR' });
  });

  it('finds names with the C library, and what is not of the zone by its next name server', async () => {
    const outside = new NamespaceHandle(daemon.lab.pin('outside'));
    const { udp, tcp } = outside.run(() => openService(parseIpv4(OUTSIDE_ADDRESS), 53));
    outside[Symbol.dispose]();
    closeSync(tcp);
    const next = createSocket('udp4').on('message', (message, { address, port }) => {
      const { id = 0, questions = [] } = decode(message);
      const answers = questions
        .filter(({ type }) => type === 'A')
        .map(({ name }) => ({ type: 'A', name, data: '203.0.113.5' }) as const);
      next.send(encode({ id, type: 'response', questions, answers }), port, address);
    });
    next.bind({ fd: udp });
    const file = join(daemon.lab.folder, 'resolv.conf');
    writeFileSync(file, `nameserver ${RESOLVER}\nnameserver ${OUTSIDE_ADDRESS}\nsearch team.culvert\n`);
    // a mount that nobody else sees
    const script = `mount --bind ${file} "$(readlink -f /etc/resolv.conf)" && getent ahostsv4 "$1"`;
    const find = async (name: string): Promise<string> => {
      const { stdout } = await ended(
        daemon.lab.spawn(walker.netns, 'unshare', '--mount', 'sh', '-c', script, 'sh', name),
      );
      return stdout.split(/\s/)[0] ?? '';
    };
    const address = formatIpv4(sandboxes.netns.hostAddress);
    expect(await find('netns.team.culvert')).toBe(address);
    expect(await find('netns')).toBe(address);
    expect(await find('nobody.team.culvert')).toBe('');
    expect(await find('example.org')).toBe('203.0.113.5');
    next.close();
  });
});

describe('the daemon', () => {
  it('answers from its main thread, at an address that it shows, and again when it was killed', async () => {
    using host = new LabHost();
    const culvert = new CommandLine(host);
    await culvert.up();
    await culvert.ok('create', 'a1', '--topology', 'netns');
    const sandbox = await culvert.json<SandboxResource>('inspect', 'a1');
    expect(sandbox.dns).toBe(RESOLVER);
    expect(await culvert.ok('inspect', 'a1')).toMatch(/^DNS +10\.12\.0\.1$/m);
    using asker = new Asker(sandbox.netns);
    for (const by of ['udp', 'tcp'] as const) {
      expect(await asker.ask(by, queryFor('a1.team.culvert'))).toMatchObject({ rcode: 'NXDOMAIN' });
      expect(await asker.ask(by, queryFor('example.org'))).toMatchObject({ rcode: 'REFUSED' });
    }
    const status = await culvert.json<StatusResource>('status');
    expect(status).toMatchObject({ names: { answered: 2, refused: 2, dropped: 0 }, problems: [] });
    await culvert.kill('SIGKILL');
    // at once, and not after a wait
    for (const by of ['udp', 'tcp'] as const) {
      expect(await asker.hear(by, queryFor('example.org'))).toEqual({ nothing: 'ECONNREFUSED' });
    }
    await culvert.up();
    for (const by of ['udp', 'tcp'] as const) {
      expect(await asker.ask(by, queryFor('example.org'))).toMatchObject({ rcode: 'REFUSED' });
    }
    await culvert.ok('down', '--purge');
    // it has let go of its socket by then, and is about to end
    await expect.poll(() => culvert.exitCode, { timeout: 10_000 }).toBe(0);
  });

  it('says so where it cannot answer, and does all else', async () => {
    using host = new LabHost();
    const culvert = new CommandLine(host);
    await culvert.up();
    await culvert.ok('down');
    const router = join(culvert.runDir, 'netns', 'router');
    using other = new LineProcess(router, process.execPath, [
      '-e',
      `require('node:dgram').createSocket('udp4').bind(53, '${RESOLVER}', () => console.log('bound'));`,
    ]);
    expect(await other.line()).toBe('bound');
    await culvert.up();
    const { problems } = await culvert.json<StatusResource>('status');
    expect(problems).toMatchObject([{ code: 'names_unanswered', message: expect.stringContaining('EADDRINUSE') }]);
    await culvert.ok('create', 'a1', '--topology', 'netns');
    await culvert.ok('down', '--purge');
  });
});
