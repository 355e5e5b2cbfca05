import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitUntil } from './wait.ts';

/** wireguard-go has its sockets in one place, so each server sees a folder of its own there. */
const STAGE = `
  set -e
  mount -t tmpfs -o mode=0755 lab /run
  mkdir /run/wireguard
  mount --bind "$1" /run/wireguard
  shift
  exec "$@"`;

const PORT = 51_820;

/** Somebody who has an account there. */
export type Account = { readonly privateKey: string; readonly publicKey: string };

/**
 * A WireGuard that is configured by wg(8) as any provider's is, in a namespace of the lab:
 *
 *     the namespace
 *     UDP 51820 ── wgs 10.9.0.1/24 ── accounts, 10.9.0.2, 10.9.0.3, …
 */
export class WireguardServer implements Disposable {
  /** where its accounts reach it */
  static readonly inside = '10.9.0.1';
  readonly accounts: readonly (Account & { readonly address: string })[];
  readonly #publicKey: string;
  readonly #netns: string;
  readonly #folder: string;

  /**
   * @param netns path of its namespace
   * @param folder that nobody else uses
   */
  constructor(netns: string, folder: string, accounts: number) {
    this.#netns = netns;
    this.#folder = folder;
    mkdirSync(folder);
    const own = makeAccount();
    this.#publicKey = own.publicKey;
    this.accounts = Array.from({ length: accounts }, (_, index) => ({
      ...makeAccount(),
      address: `10.9.0.${index + 2}`,
    }));
    writeFileSync(join(folder, 'key'), own.privateKey, { mode: 0o600 });
    this.serve();
  }

  /** Begins, as for the first time. */
  serve(): void {
    this.#run('wireguard-go', 'wgs');
    waitUntil(() => this.#run('wg', 'show', 'interfaces').includes('wgs'));
    const peers = this.accounts.flatMap(({ publicKey, address }) => [
      'peer',
      publicKey,
      'allowed-ips',
      `${address}/32`,
    ]);
    this.#run('wg', 'set', 'wgs', 'private-key', join(this.#folder, 'key'), 'listen-port', String(PORT), ...peers);
    for (const line of [`address add ${WireguardServer.inside}/24 dev wgs`, 'link set wgs mtu 1420 up']) {
      this.#run('ip', ...line.split(' '));
    }
  }

  /** Sends an account what is for these addresses too. */
  lead(index: number, addresses: readonly string[]): void {
    const account = this.accounts[index];
    if (account === undefined) throw new Error(`There is no account ${index}`);
    const allowed = [account.address, ...addresses].join(',');
    this.#run('wg', 'set', 'wgs', 'peer', account.publicKey, 'allowed-ips', allowed);
    for (const address of addresses) this.#run('ip', 'route', 'replace', address, 'dev', 'wgs');
  }

  /** The file of an account, as a provider gives it out. @param endpoint address of the server */
  file(index: number, endpoint: string): string {
    const account = this.accounts[index];
    if (account === undefined) throw new Error(`There is no account ${index}`);
    return [
      '[Interface]',
      `PrivateKey = ${account.privateKey}`,
      `Address = ${account.address}/32`,
      '[Peer]',
      `PublicKey = ${this.#publicKey}`,
      `Endpoint = ${endpoint}:${PORT}`,
      'AllowedIPs = 0.0.0.0/0, ::/0',
      '',
    ].join('\n');
  }

  [Symbol.dispose](): void {
    // its program ends with its link
    this.#run('ip', 'link', 'delete', 'wgs');
  }

  #run(...command: string[]): string {
    const enter = [`--net=${this.#netns}`, 'unshare', '--mount', '--propagation', 'private'];
    return execFileSync('nsenter', [...enter, 'sh', '-c', STAGE, 'sh', this.#folder, ...command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}

function makeAccount(): Account {
  const wg = (verb: string, input = ''): string => execFileSync('wg', [verb], { input, encoding: 'utf8' }).trim();
  const privateKey = wg('genkey');
  return { privateKey, publicKey: wg('pubkey', privateKey) };
}
