import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { availableWireguard } from '../src/linux/wireguard/available.ts';
import { LabNamespace } from './namespace.ts';
import { waitUntil } from './wait.ts';

/** A process has files of its own where the machine has its own: WireGuard's sockets, and who is asked for names. */
const STAGE = `
  set -e
  mount -t tmpfs -o mode=0755 lab /run
  mkdir /run/wireguard
  mount --bind "$1/wireguard" /run/wireguard
  mount --bind "$1/resolv.conf" /etc/resolv.conf
  mount --bind "$1/hosts" /etc/hosts
  shift
  exec "$@"`;

/** bytes, as they stand there before anybody changes them */
export const RESOLV_CONF = '# of the lab\nnameserver 203.0.113.53\n';

export const PORT = 51_820;
export const SERVER = { inside4: '10.9.0.1', inside6: 'fd09::1', outside4: '203.0.113.1', outside6: '2001:db8::1' };
export const CLIENT = { inside4: '10.9.0.2', inside6: 'fd09::2', outside4: '203.0.113.2', outside6: '2001:db8::2' };

/** One of the two: a namespace, and a folder that its processes see parts of in place of the machine's. */
class Side {
  readonly namespace: LabNamespace;
  readonly folder: string;
  readonly #started = new Set<ChildProcess>();

  constructor(namespace: LabNamespace, folder: string) {
    this.namespace = namespace;
    this.folder = folder;
    mkdirSync(join(folder, 'wireguard'), { recursive: true });
    writeFileSync(join(folder, 'resolv.conf'), RESOLV_CONF);
    writeFileSync(join(folder, 'hosts'), '127.0.0.1 localhost\n');
  }

  command(...command: readonly string[]): string[] {
    const enter = [`--net=${this.namespace.path}`, 'unshare', '--mount', '--propagation', 'private'];
    return [...enter, 'sh', '-c', STAGE, 'sh', this.folder, ...command];
  }

  /** Runs a command and returns what it prints. */
  run(...command: readonly string[]): string {
    return execFileSync('nsenter', this.command(...command), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Starts a command that ends with this, and with this process, however that does. */
  start(...command: readonly string[]): ChildProcess {
    const line = this.command('setpriv', '--pdeathsig', 'KILL', ...command);
    const child = spawn('nsenter', line, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#started.add(child);
    child.once('exit', () => this.#started.delete(child));
    return child;
  }

  /** Ends what was started. */
  async close(): Promise<void> {
    const ends = [...this.#started].map((child) => once(child, 'exit'));
    for (const child of this.#started) child.kill('SIGKILL');
    await Promise.all(ends);
    // a program that makes a device holds its namespace
    for (const name of tunLinks(this.namespace)) this.namespace.ip(`link delete ${name}`);
    await this.namespace.close();
  }
}

/**
 * A client, and a WireGuard that is configured by wg(8) as anybody's is:
 *
 *     client                                     server
 *     eth0 203.0.113.2/24, 2001:db8::2/64 ────── eth0 203.0.113.1, 2001:db8::1, everybody's gateway
 *                                                 └ wgs :51820, inside 10.9.0.1/24, fd09::1/64
 *
 * All of it is gone when it is disposed of.
 */
export class Vpn implements AsyncDisposable {
  readonly client: Side;
  readonly server: Side;
  readonly privateKey: string;
  readonly publicKey: string;
  readonly serverPublicKey: string;
  readonly #folder: string;

  private constructor(folder: string, client: LabNamespace, server: LabNamespace) {
    this.#folder = folder;
    this.client = new Side(client, join(folder, 'client'));
    this.server = new Side(server, join(folder, 'server'));
    const wg = (verb: string, input = ''): string => execFileSync('wg', [verb], { input, encoding: 'utf8' }).trim();
    this.privateKey = wg('genkey');
    this.publicKey = wg('pubkey', this.privateKey);
    const serverKey = wg('genkey');
    this.serverPublicKey = wg('pubkey', serverKey);
    writeFileSync(join(this.server.folder, 'key'), serverKey, { mode: 0o600 });
  }

  static async make(): Promise<Vpn> {
    const [client, server] = await Promise.all([LabNamespace.make(), LabNamespace.make()]);
    const vpn = new Vpn(mkdtempSync(join(tmpdir(), 'culvert-vpn-')), client, server);
    try {
      vpn.#lay();
      await vpn.serve();
      return vpn;
    } catch (error) {
      await vpn[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Makes the server's WireGuard, which is the kernel's where it has one, as the client's is. */
  async serve(): Promise<void> {
    const { server } = this;
    if (availableWireguard() === 'kernel') server.namespace.ip('link add wgs type wireguard');
    else server.run('wireguard-go', 'wgs');
    waitUntil(() => server.run('wg', 'show', 'interfaces').includes('wgs'));
    const peer = ['peer', this.publicKey, 'allowed-ips', `${CLIENT.inside4}/32,${CLIENT.inside6}/128`];
    server.run('wg', 'set', 'wgs', 'private-key', join(server.folder, 'key'), 'listen-port', String(PORT), ...peer);
    server.namespace.ip(
      `address add ${SERVER.inside4}/24 dev wgs`,
      `address add ${SERVER.inside6}/64 dev wgs nodad`,
      'link set wgs mtu 1420 up',
    );
  }

  /** Ends the server's WireGuard. */
  unserve(): void {
    this.server.namespace.ip('link delete wgs');
  }

  /** A file of the client's, with other lines for its interface and peer. */
  config({
    lines = [],
    peer = {},
  }: {
    lines?: readonly string[];
    peer?: Readonly<Record<string, string>>;
  } = {}): string {
    const peerLines = {
      PublicKey: this.serverPublicKey,
      Endpoint: `${SERVER.outside4}:${PORT}`,
      AllowedIPs: '0.0.0.0/0, ::/0',
      ...peer,
    };
    return [
      '[Interface]',
      `PrivateKey = ${this.privateKey}`,
      `Address = ${CLIENT.inside4}/24, ${CLIENT.inside6}/64`,
      ...lines,
      '',
      '[Peer]',
      ...Object.entries(peerLines).map(([key, value]) => `${key} = ${value}`),
      '',
    ].join('\n');
  }

  /** All that a tunnel changes of the client, in the words of the tools. */
  state(): Record<string, string> {
    const { namespace, folder } = this.client;
    const ip = (...words: string[]): string => namespace.run('ip', ...words);
    return {
      links: ip('-br', 'link').replace(/<.*>/gu, ''),
      addresses: ip('-br', 'address'),
      rules: `${ip('-4', 'rule')}${ip('-6', 'rule')}`,
      routes4: ip('-4', 'route', 'show', 'table', 'all'),
      routes6: ip('-6', 'route', 'show', 'table', 'all'),
      tables: namespace.run('nft', 'list', 'ruleset'),
      mark: namespace.run('sysctl', '-n', 'net.ipv4.conf.all.src_valid_mark'),
      names: readFileSync(join(folder, 'resolv.conf'), 'utf8'),
      sockets: namespace.run('ss', '-unlH'),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.client.close(), this.server.close()]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #lay(): void {
    const [client, server] = [this.client.namespace, this.server.namespace];
    client.ip(`link add eth0 type veth peer name eth0 netns ${server.pid}`);
    for (const [side, { outside4, outside6 }] of [
      [client, CLIENT],
      [server, SERVER],
    ] as const) {
      // addresses that come by themselves would be differences to who compares
      side.run('sysctl', '-qw', 'net.ipv6.conf.eth0.addr_gen_mode=1', 'net.ipv6.conf.default.addr_gen_mode=1');
      side.ip(`address add ${outside4}/24 dev eth0`, `address add ${outside6}/64 dev eth0 nodad`, 'link set eth0 up');
    }
    client.ip(`route add default via ${SERVER.outside4}`, `route add default via ${SERVER.outside6}`);
  }
}

function tunLinks(namespace: LabNamespace): string[] {
  const links = JSON.parse(namespace.run('ip', '-j', '-d', 'link')) as {
    ifname: string;
    linkinfo?: { info_kind?: string };
  }[];
  return links.filter(({ linkinfo }) => linkinfo?.info_kind === 'tun').map(({ ifname }) => ifname);
}
