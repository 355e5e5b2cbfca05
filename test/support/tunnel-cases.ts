import { deepEqual, doesNotMatch, equal, match, notEqual, ok, rejects } from 'node:assert/strict';
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { LabNamespace } from '../../lab/namespace.ts';
import { CLIENT, PORT, RESOLV_CONF, SERVER, type Vpn } from '../../lab/vpn.ts';
import { VpnClient } from '../../lab/vpn-client.ts';
import { availableWireguard } from '../../src/linux/wireguard/available.ts';

/**
 * What the library does with whichever WireGuard this machine has, to a peer that wg(8) configures. It is not written for
 * one runner of tests: machines that have the other kind may have little else.
 */
export type TunnelCase = {
  readonly name: string;
  readonly run: (stage: TunnelStage) => Promise<void>;
};

/** A Vpn, and a process on its client that lives from case to case until it is killed: to start one takes long. */
export class TunnelStage implements Disposable {
  readonly vpn: Vpn;
  #client: VpnClient | undefined;

  constructor(vpn: Vpn) {
    this.vpn = vpn;
  }

  async client(): Promise<VpnClient> {
    return (this.#client ??= await VpnClient.start(this.vpn));
  }

  async kill(): Promise<void> {
    await this.#client?.kill();
    this.#client = undefined;
  }

  pings(address: string): boolean {
    try {
      this.vpn.client.namespace.run('ping', '-c', '1', '-W', '10', address);
      return true;
    } catch {
      return false;
    }
  }

  /** By which links packets leave. */
  ways(...addresses: readonly string[]): string[] {
    const { namespace } = this.vpn.client;
    return addresses.map((address) => /dev (\S+)/.exec(namespace.run('ip', 'route', 'get', address))?.[1] ?? '');
  }

  /** What ip(8) says of the tunnel's link. */
  link(): string {
    return this.vpn.client.namespace.run('ip', '-d', 'link', 'show', 'vpn');
  }

  /** Has the server know the client again. */
  knowAgain(): void {
    const inside = `${CLIENT.inside4}/32,${CLIENT.inside6}/128`;
    this.vpn.server.run('wg', 'set', 'wgs', 'peer', this.vpn.publicKey, 'allowed-ips', inside);
  }

  /** When the server has had its last handshake, s since the epoch. */
  handshake(): string {
    return this.vpn.server.run('wg', 'show', 'wgs', 'latest-handshakes');
  }

  [Symbol.dispose](): void {
    this.#client?.[Symbol.dispose]();
  }
}

const DNS = ['DNS = 10.9.0.1'];
const FAR = ['192.0.2.1', '2001:db8:f::1'];
const INSIDE = [SERVER.inside4, SERVER.inside6];
/** What ip(8) calls a link by who makes the device. */
const KINDS = { kernel: /^ +wireguard /m, userspace: /^ +tun / };

export const tunnelCases: readonly TunnelCase[] = [
  {
    name: 'takes everything, of both families, by the WireGuard that there is',
    async run(stage) {
      const { vpn } = stage;
      const client = await stage.client();
      const { notices } = await client.connect({ name: 'vpn', config: vpn.config({ lines: DNS }) });
      deepEqual(notices, []);
      match(stage.link().split('\n').slice(2).join('\n'), KINDS[availableWireguard()]);
      deepEqual(
        INSIDE.map((address) => stage.pings(address)),
        [true, true],
      );
      deepEqual(stage.ways(...FAR), ['vpn', 'vpn']);
      deepEqual(stage.ways(SERVER.outside4, SERVER.outside6), ['eth0', 'eth0']);
      match(vpn.state()['names'] ?? '', /^nameserver 10\.9\.0\.1$/m);
      await client.disconnect();
    },
  },
  {
    name: 'reaches an endpoint by IPv6',
    async run(stage) {
      const client = await stage.client();
      const config = stage.vpn.config({ peer: { Endpoint: `[${SERVER.outside6}]:${PORT}` } });
      await client.connect({ name: 'vpn', config });
      deepEqual(
        INSIDE.map((address) => stage.pings(address)),
        [true, true],
      );
      match(stage.link(), /mtu 1420 /);
      await client.disconnect();
    },
  },
  {
    name: 'takes what is named, and not what is excluded',
    async run(stage) {
      const client = await stage.client();
      const options = { splitIPs: ['10.0.0.0/8', 'fd09::/64'], excludes: ['10.1.0.0/16'] };
      await client.connect({ name: 'vpn', config: stage.vpn.config(), ...options });
      deepEqual(stage.ways('10.2.0.1', '10.1.0.1', ...FAR), ['vpn', 'eth0', 'eth0', 'eth0']);
      deepEqual(
        INSIDE.map((address) => stage.pings(address)),
        [true, true],
      );
      await client.disconnect();
    },
  },
  {
    name: 'lets nothing past its kill switch, when it is killed and its link is gone, until it is ended',
    async run(stage) {
      const { vpn } = stage;
      const options = { name: 'vpn', config: vpn.config(), killSwitch: { allow: ['203.0.113.0/24'] } };
      await (await stage.client()).connect(options);
      const passes = (): boolean[] => [...INSIDE, SERVER.outside4, SERVER.outside6].map((one) => stage.pings(one));
      deepEqual(passes(), [true, true, true, false]);
      await stage.kill();
      deepEqual(passes(), [true, true, true, false]);
      vpn.client.namespace.ip('link delete vpn');
      deepEqual(passes(), [false, false, true, false]);
      const client = await stage.client();
      await client.connect(options);
      deepEqual(passes(), [true, true, true, false]);
      await client.disconnect();
      equal(stage.pings(SERVER.outside6), true);
    },
  },
  {
    name: 'that was killed is taken over as it is, with its link and its session',
    async run(stage) {
      const { vpn } = stage;
      const options = { name: 'vpn', config: vpn.config({ lines: DNS }), killSwitch: true };
      await (await stage.client()).connect(options);
      await stage.kill();
      // a client that lives has sockets of its own, by which it finds out the size of the way
      const seen = (): unknown => [{ ...vpn.state(), sockets: '' }, stage.handshake()];
      const left = seen();
      const client = await stage.client();
      equal((await client.connect(options)).wasAdopted, true);
      deepEqual(seen(), left);
      equal(stage.pings(SERVER.inside4), true);
      await client.disconnect();
    },
  },
  {
    name: 'that was killed is replaced where another is wanted, and where its link is gone',
    async run(stage) {
      const { vpn } = stage;
      await (await stage.client()).connect({ name: 'vpn', config: vpn.config({ lines: DNS }), killSwitch: true });
      const first = stage.link();
      await stage.kill();
      const other = vpn.config({ lines: ['MTU = 1300'] });
      equal((await (await stage.client()).connect({ name: 'vpn', config: other })).wasAdopted, false);
      match(stage.link(), /mtu 1300 /);
      notEqual(stage.link().split(':')[0], first.split(':')[0]);
      const { names = '', tables = '' } = vpn.state();
      equal(names, RESOLV_CONF);
      ok(!tables.includes('culvert_kill_vpn'));
      await stage.kill();
      vpn.client.namespace.ip('link delete vpn');
      const client = await stage.client();
      await client.connect({ name: 'vpn', config: vpn.config() });
      deepEqual(
        INSIDE.map((address) => stage.pings(address)),
        [true, true],
      );
      await client.disconnect();
    },
  },
  {
    name: 'for a namespace goes when nothing pins that any more, though somebody stays inside',
    async run(stage) {
      const { vpn } = stage;
      const inner = await LabNamespace.make();
      try {
        const pin = join(vpn.client.folder, 'pin');
        symlinkSync(inner.path, pin);
        const client = await stage.client();
        await client.connect({ name: 'vpn', config: vpn.config(), namespace: pin });
        match(inner.run('ip', '-br', 'link'), /^vpn /m);
        rmSync(pin);
        await client.disconnect();
        doesNotMatch(inner.run('ip', '-br', 'link'), /vpn/);
      } finally {
        await inner.close();
      }
    },
  },
  {
    name: 'is ended while its device is gone',
    async run(stage) {
      const { vpn } = stage;
      const client = await stage.client();
      await client.connect({ name: 'vpn', config: vpn.config({ lines: DNS }) });
      vpn.server.run('wg', 'set', 'wgs', 'peer', vpn.publicKey, 'remove');
      vpn.client.namespace.ip('link delete vpn');
      // it is made anew, and nobody answers
      while (!vpn.state()['links']?.includes('vpn')) await pause(50);
      await client.disconnect();
      stage.knowAgain();
    },
  },
  {
    name: 'is what wg-quick left, of the same key',
    async run(stage) {
      const { vpn } = stage;
      const file = join(vpn.client.folder, 'vpn.conf');
      writeFileSync(file, vpn.config(), { mode: 0o600 });
      vpn.client.run('sh', '-c', `wg-quick up ${file} 2>&1`);
      equal(stage.pings(SERVER.inside4), true);
      const client = await stage.client();
      equal((await client.connect({ name: 'vpn', config: vpn.config() })).wasAdopted, false);
      deepEqual(
        INSIDE.map((address) => stage.pings(address)),
        [true, true],
      );
      await client.disconnect();
      // which wg-quick does not put back
      vpn.client.namespace.run('sysctl', '-qw', 'net.ipv4.conf.all.src_valid_mark=0');
    },
  },
  {
    name: 'is refused where its name is another’s, and where nobody answers, and nothing is changed',
    async run(stage) {
      const { vpn } = stage;
      const { namespace } = vpn.client;
      const client = await stage.client();
      const options = { name: 'vpn', config: vpn.config({ lines: DNS }), killSwitch: true, timeoutMs: 2000 };
      if (availableWireguard() === 'kernel') namespace.ip('link add vpn type wireguard');
      else vpn.client.run('wireguard-go', 'vpn');
      vpn.client.run('wg', 'set', 'vpn', 'private-key', join(vpn.server.folder, 'key'));
      await rejects(client.connect(options), { code: 'link_in_use', message: /another key \(public key / });
      namespace.ip('link delete vpn');
      vpn.server.run('wg', 'set', 'wgs', 'peer', vpn.publicKey, 'remove');
      const before = vpn.state();
      await rejects(client.connect(options), { code: 'no_answer', message: /\d+ bytes sent to 203\.0\.113\.1:51820/ });
      deepEqual(vpn.state(), before);
      stage.knowAgain();
    },
  },
];
