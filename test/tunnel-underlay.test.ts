import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Detour, FAR } from '../lab/detour.ts';
import { initiation } from '../lab/initiation.ts';
import { PORT, SERVER, Vpn } from '../lab/vpn.ts';
import { CULVERT, ended, lineOf } from './support/command-line.ts';

/* What a tunnel stands on changes under it: see the drawings in lab/vpn.ts and lab/detour.ts. */

let vpn: Vpn;
let opened: AsyncDisposableStack;

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  vpn = await Vpn.make();
});
afterEach(async () => {
  // a program that makes a device holds its namespace, and the detours' links with it
  await vpn[Symbol.asyncDispose]();
  await opened.disposeAsync();
});

const detour = async (number: number): Promise<Detour> => opened.use(await Detour.make(vpn, number));

/** What a client has said, and who it is. */
type Client = { readonly child: ChildProcess; readonly said: string[] };

function start(text: string, options: readonly string[] = [], env: readonly string[] = []): Client {
  const path = join(vpn.client.folder, 'vpn.conf');
  writeFileSync(path, text, { mode: 0o600 });
  const folders = ['--run-dir', join(vpn.client.folder, 'run'), '--state-dir', join(vpn.client.folder, 'state')];
  const child = vpn.client.start('env', ...env, CULVERT, 'connect', path, ...folders, ...options);
  const said: string[] = [];
  child.stdout?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  return { child, said };
}

async function connected(text: string, options: readonly string[] = [], env: readonly string[] = []): Promise<Client> {
  const client = start(text, options, env);
  await lineOf(client.child, /is connected/);
  return client;
}

async function kill({ child }: Client, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

function pings(address: string, ...options: string[]): boolean {
  try {
    vpn.client.namespace.run('ping', '-c', '1', '-W', '10', ...options, address);
    return true;
  } catch {
    return false;
  }
}

function mtu(): number {
  return Number(/mtu (\d+)/.exec(vpn.client.namespace.run('ip', 'link', 'show', 'vpn'))?.[1]);
}

/** A tunnel to the server where detours lead, of a peer that says nothing by itself. */
const far = (peer: Readonly<Record<string, string>> = {}): string =>
  vpn.config({ peer: { Endpoint: `${FAR.four}:${PORT}`, ...peer } });

/** The process that makes the client's device: it has the link open. */
function program(): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    try {
      const isOurs = statSync(`/proc/${pid}/ns/net`).ino === statSync(vpn.client.namespace.path).ino;
      return isOurs && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'wireguard-go\n';
    } catch {
      // it has ended meanwhile
      return false;
    }
  });
  if (found === undefined) throw new Error('Nobody makes the client’s device');
  return Number(found);
}

/** How many bytes of a MiB come back of one that was sent, by TCP through the tunnel. */
async function carried(): Promise<number> {
  const MiB = 2 ** 20;
  const answer = `require('net').createServer((s) => { let n = 0;
    s.on('data', (d) => { n += d.length; if (n === ${MiB}) s.end(Buffer.alloc(${MiB})) }) })
    .listen(9, '${SERVER.inside4}', () => console.log('listening'))`;
  const server = vpn.server.namespace.start(process.execPath, '-e', answer);
  opened.defer(() => void server.kill('SIGKILL'));
  await lineOf(server, /listening/);
  const ask = `const s = require('net').connect(9, '${SERVER.inside4}', () => s.write(Buffer.alloc(${MiB}))); let n = 0;
    s.on('data', (d) => { n += d.length }).on('end', () => { console.log(n); process.exit() })`;
  return Number(await lineOf(vpn.client.namespace.start(process.execPath, '-e', ask), /./));
}

/** Has something pass all the time. */
function talk(): void {
  const child = vpn.client.namespace.start('ping', '-q', '-i', '0.2', '-s', '200', SERVER.inside4);
  child.stdout?.resume();
  opened.defer(() => void child.kill('SIGKILL'));
}

describe('the way to the endpoint', { timeout: 120_000 }, () => {
  it('changes to another gateway, of another link with another size, and the tunnel with it', async () => {
    const [first, second] = [await detour(1), await detour(2)];
    second.narrowLink(1400);
    first.use();
    const client = await connected(far(), ['--kill-switch']);
    expect([pings(SERVER.inside4), mtu()]).toEqual([true, 1420]);
    first.cut();
    second.use();
    await expect.poll(() => pings(SERVER.inside4), { timeout: 20_000, interval: 200 }).toBe(true);
    await expect.poll(mtu).toBe(1320);
    await expect
      .poll(() => client.said.join(''))
      .toMatch(/vpn goes to 198\.51\.100\.1 via 10\.2\.1\.1 dev way2 src 10\.2\.1\.2 now/);
    expect(pings(SERVER.outside4, '-W', '1')).toBe(false);
    await kill(client);
  });

  it('is gone with the host’s address, and comes back with another one', async () => {
    const way = await detour(1);
    way.use();
    const client = await connected(far());
    const { namespace } = vpn.client;
    namespace.ip(`address delete 10.1.1.2/24 dev ${way.link}`);
    expect(pings(SERVER.inside4, '-W', '1')).toBe(false);
    namespace.ip(`address add 10.1.1.77/24 dev ${way.link}`);
    way.use();
    await expect.poll(() => pings(SERVER.inside4), { timeout: 20_000, interval: 200 }).toBe(true);
    await kill(client);
  });
});

describe('the size of packets', { timeout: 240_000 }, () => {
  it('follows what routers say of the path, down and up again', async () => {
    const way = await detour(1);
    way.use();
    // how long the kernel remembers what it was told
    vpn.client.namespace.run('sysctl', '-qw', 'net.ipv4.route.mtu_expires=5');
    const client = await connected(far());
    way.narrow(1400);
    talk();
    // a large packet is lost, and a router says so
    pings(SERVER.inside4, '-s', '1392', '-M', 'do');
    await expect.poll(mtu, { timeout: 20_000 }).toBe(1320);
    way.narrow(1500);
    await expect.poll(mtu, { timeout: 60_000 }).toBe(1420);
    await kill(client);
  });

  it('is found where routers say nothing, and TCP keeps to it both ways; and is raised again', async () => {
    const way = await detour(1);
    way.use();
    way.silence();
    const client = await connected(far());
    talk();
    expect(pings(SERVER.inside4, '-s', '1392', '-M', 'do')).toBe(true);
    way.narrow(1400);
    await expect.poll(mtu, { timeout: 90_000 }).toBeLessThan(1400);
    expect(mtu()).toBeLessThanOrEqual(1340);
    expect(mtu()).toBeGreaterThan(1310);
    expect(pings(SERVER.inside4, '-s', String(mtu() - 28), '-M', 'do')).toBe(true);
    expect(await carried()).toBe(2 ** 20);
    way.narrow(1500);
    await expect.poll(mtu, { timeout: 120_000 }).toBe(1420);
    await kill(client);
  });
});

describe('a session that a dead client has left', { timeout: 120_000 }, () => {
  it('is adopted where the peer answers, though no host behind it does, and no session ends', async () => {
    vpn.server.namespace.run('sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_all=1', 'net.ipv6.icmp.echo_ignore_all=1');
    await kill(await connected(vpn.config()), 'SIGKILL');
    const handshake = (): string => vpn.server.run('wg', 'show', 'wgs', 'latest-handshakes');
    const before = handshake();
    const { child } = start(vpn.config(), ['--json']);
    expect(JSON.parse(await lineOf(child, /"connected"/))).toMatchObject({ wasAdopted: true });
    expect(handshake()).toBe(before);
    await kill({ child, said: [] });
  });

  it('is not where the peer is gone, young as it is; where it is back the tunnel is made anew', async () => {
    await kill(await connected(vpn.config()), 'SIGKILL');
    vpn.unserve();
    const { code, stderr } = await ended(start(vpn.config(), ['--timeout', '2']).child);
    expect([code, stderr]).toEqual([1, expect.stringContaining('no handshake in 2 s')]);
    await vpn.serve();
    await kill(await connected(vpn.config()), 'SIGKILL');
    vpn.unserve();
    await vpn.serve();
    // it knows nothing of the session
    const again = start(vpn.config(), ['--json', '--timeout', '5']);
    expect(JSON.parse(await lineOf(again.child, /"connected"/))).toMatchObject({ wasAdopted: false });
    await expect.poll(() => again.said.join('')).toContain('not adopted, since its peer does not answer');
    expect(pings(SERVER.inside4)).toBe(true);
    await kill(again);
  });
});

describe('what was seen', { timeout: 120_000 }, () => {
  const failure = async (text: string, options: readonly string[], env: readonly string[] = []): Promise<unknown> => {
    const before = vpn.state();
    const { code, stderr } = await ended(start(text, ['--json', ...options], env).child);
    expect(code).not.toBe(0);
    expect(vpn.state()).toEqual(before);
    return JSON.parse(stderr);
  };
  const says = (code: string, message: RegExp): unknown => ({
    error: expect.objectContaining({ code, message: expect.stringMatching(message) }),
  });

  it('is that answers came and could not be read, where pre-shared keys differ', async () => {
    const PresharedKey = 'aPxGwq8zERHQ3Q1cOZFdJ+cvJX5Ka4mLN38AyYKYF10=';
    expect(await failure(vpn.config({ peer: { PresharedKey } }), ['--timeout', '2'])).toEqual(
      says('handshake_refused', /203\.0\.113\.1:51820 has answered once, and the answers cannot be read/),
    );
  });

  it('is that no data came after the handshake', async () => {
    vpn.server.run('wg', 'set', 'wgs', 'peer', vpn.publicKey, 'allowed-ips', '10.9.0.77/32');
    const options = ['--wait-for-data', '--timeout', '12'];
    expect(await failure(vpn.config(), options)).toEqual(
      says(
        'no_data',
        /it keeps the session alive, and nobody inside answers \(asked: 10\.9\.0\.1.*AllowedIPs for this host have 10\.9\.0\.2/,
      ),
    );
    // type 4 carries data; handshakes pass
    const table =
      'table inet data { chain input { type filter hook input priority 0; udp dport 51820 @th,64,8 4 drop; }; }';
    vpn.server.namespace.feed(table, 'nft', '-f', '-');
    expect(await failure(vpn.config(), ['--wait-for-data', '--timeout', '3'])).toEqual(
      says('no_data', /nothing has come of what was sent since/),
    );
    vpn.server.namespace.run('nft', 'delete', 'table', 'inet', 'data');
    vpn.server.run('wg', 'set', 'wgs', 'peer', vpn.publicKey, 'allowed-ips', '10.9.0.2/32');
    await kill(await connected(vpn.config(), options));
  });

  it('is that the clock is behind, where the peer has heard of later', async () => {
    const offset = join(vpn.client.folder, 'offset');
    const env = [
      `CLOCK_OFFSET=${offset}`,
      `NODE_OPTIONS=--import=${join(import.meta.dirname, 'support', 'jumping-clock.ts')}`,
    ];
    const HOUR_MS = 3_600_000;
    writeFileSync(offset, String(5 * HOUR_MS));
    await kill(await connected(vpn.config(), [], env));
    // what WireGuard would have sent by that clock: programs cannot be given one of their own
    const message = initiation(vpn.privateKey, vpn.serverPublicKey, Date.now() + 5 * HOUR_MS);
    const send = `const m=Buffer.from('${Buffer.from(message).toString('hex')}','hex');const s=require('dgram').createSocket('udp4');
      s.on('message',(m)=>{console.log(m.length);s.close()});s.send(m,${PORT},'${SERVER.outside4}')`;
    const { stdout } = await ended(vpn.client.start(process.execPath, '-e', send));
    // it was taken, and answered
    expect(stdout).toBe('92\n');
    writeFileSync(offset, '0');
    expect(await failure(vpn.config(), ['--timeout', '3'], env)).toEqual(
      says(
        'clock_behind',
        /nothing came back: this host’s clock says .*Z, which is (4|5) h before its last handshake with this peer/,
      ),
    );
  });
});

describe('a client that was stopped', { timeout: 120_000 }, () => {
  it('looks where its peer is, and is answered, at once when it goes on', async () => {
    const hosts = join(vpn.client.folder, 'hosts');
    writeFileSync(hosts, `${SERVER.outside4} vpn.example\n`);
    const client = await connected(vpn.config({ peer: { Endpoint: `vpn.example:${PORT}` } }), ['--kill-switch']);
    expect(pings(SERVER.inside4)).toBe(true);
    const pids = [client.child.pid ?? 0, program()];
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    // the server is elsewhere when the machine wakes up
    vpn.server.namespace.ip(`address delete ${SERVER.outside4}/24 dev eth0`, 'address add 203.0.113.99/24 dev eth0');
    writeFileSync(hosts, '203.0.113.99 vpn.example\n');
    await pause(8000);
    for (const pid of pids.toReversed()) process.kill(pid, 'SIGCONT');
    // a peer that does not answer is given up after fifteen seconds otherwise
    await expect.poll(() => pings(SERVER.inside4), { timeout: 12_000, interval: 200 }).toBe(true);
    await expect.poll(() => client.said.join('')).toMatch(/vpn is looked after again, after \d+ s/);
    await kill(client);
  });
});

describe('a client that is ended while its WireGuard starts', { timeout: 120_000 }, () => {
  it('leaves no link behind it, nor one that comes later', async () => {
    const before = vpn.state();
    const folder = join(vpn.client.folder, 'slow');
    mkdirSync(folder);
    const begun = join(folder, 'begun');
    const slow = `#!/bin/sh\ntouch ${begun}\nsleep 1\nexec /usr/bin/wireguard-go "$@"\n`;
    writeFileSync(join(folder, 'wireguard-go'), slow, { mode: 0o755 });
    const client = start(vpn.config(), ['--userspace'], [`PATH=${folder}:${process.env['PATH']}`]);
    await expect.poll(() => existsSync(begun), { timeout: 20_000, interval: 20 }).toBe(true);
    await kill(client, 'SIGINT');
    // longer than it would have taken
    await pause(2000);
    expect(vpn.state()).toEqual(before);
  });
});
