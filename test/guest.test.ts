import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAR_ADDRESSES, FAR_ROUTER, layFarServer } from '../lab/far-server.ts';
import { Guest } from '../lab/guest/guest.ts';
import { LabHost, OUTSIDE_ADDRESS } from '../lab/host.ts';
import type { FirecrackerResource, SandboxResource } from '../src/api/client/client.ts';
import { CommandLine, lineOf } from './support/command-line.ts';

/*
 * A real guest on a sandbox's TAP, as the daemon made it, with an MTU of 1500 that no part of its path has:
 *
 *     guest ── tap0 s1 eth0 ── router ── cv-main host eth0 ── outside ── far ── server
 *      1500    1420      1420        1420            1500  .1        1280   1500  203.0.113.1, .2
 *
 * The host knows of its own links' 1420, and clamps the segments of TCP to it; nobody at the ends knows of 1280.
 * A path's size that was once learnt is kept per destination, so what is to be learnt anew has a destination of its own.
 */

const SIZE = 10 * 1024 * 1024;
/** MTU of the link between the outside and the far server's network. */
const NARROW = 1280;
/** bytes, of IPv4 and ICMP */
const ECHO_HEADERS = 28;

const LIMIT = { timeout: 240_000 };

type Watch = Disposable & { readonly tooLarge: () => number[] };

const POSITIVE: unknown = expect.toSatisfy((count) => count > 0);

// An emulated machine of another kind would need another kernel.
describe.skipIf(process.arch !== 'x64')('a real guest (on x86-64 only)', LIMIT, () => {
  let lab: LabHost;
  let culvert: CommandLine;
  let sandbox: SandboxResource;
  let guest: Guest;
  const digest = { outside: '', guest: '' };
  /** Lines that tell of something that had to be put right. */
  const repairs: string[] = [];

  beforeAll(async () => {
    lab = new LabHost();
    layFarServer(lab, { mtu: NARROW });
    digest.outside = await serve('outside', 'server');
    culvert = new CommandLine(lab);
    await culvert.up();
    culvert.spawn('events', '--type', 'host.').stdout?.on('data', (lines: Buffer) => void repairs.push(String(lines)));
    await culvert.ok('create', 'vm', '--topology', 'microvm', '--egress', 'open');
    sandbox = await culvert.json<SandboxResource>('inspect', 'vm');
    const machine = JSON.parse(await culvert.ok('inspect', 'vm', '--firecracker')) as FirecrackerResource;
    const [network] = machine['network-interfaces'];
    guest = await Guest.boot({
      netns: sandbox.netns,
      tap: network?.host_dev_name ?? '',
      mac: network?.guest_mac ?? '',
      bootArguments: machine['boot-source'].boot_args,
    });
    await ok(`mkdir /www && head -c ${SIZE} /dev/urandom >/www/blob && httpd -h /www`);
    digest.guest = await sum('cat /www/blob');
  }, LIMIT.timeout);

  afterAll(async () => {
    await guest?.[Symbol.asyncDispose]();
    await culvert?.run('down', '--purge');
    lab?.[Symbol.dispose]();
  }, 60_000);

  /** Starts servers of one and the same blob; its digest. */
  async function serve(...namespaces: string[]): Promise<string> {
    const blob = randomBytes(SIZE);
    const file = join(lab.folder, 'blob');
    writeFileSync(file, blob);
    const program = join(import.meta.dirname, '../lab/blob-server.ts');
    for (const namespace of namespaces) {
      await lineOf(lab.spawn(namespace, process.execPath, program, file, '80'), /^listening$/);
    }
    return createHash('sha256').update(blob).digest('hex');
  }

  /** Runs a command in the guest that must succeed, and returns what it prints. */
  async function ok(command: string): Promise<string> {
    const { status, output } = await guest.run(command);
    expect(status, `${command}: ${output}`).toBe(0);
    return output;
  }

  /** The SHA-256 of what a command in the guest prints. */
  async function sum(command: string): Promise<string> {
    return (await ok(`${command} | sha256sum`)).split(' ')[0] ?? '';
  }

  const download = (server: string): Promise<string> => sum(`wget -q -O - http://${server}/`);

  /** The digest of what arrived. */
  async function upload(server: string): Promise<string> {
    const request = `printf 'POST / HTTP/1.0\\r\\nContent-Length: ${SIZE}\\r\\n\\r\\n'; cat /www/blob`;
    return (await ok(`{ ${request}; } | nc ${server} 80`)).trim().split('\n').at(-1) ?? '';
  }

  const router = (): string => join(culvert.runDir, 'netns', 'router');

  /** Packets that the one counter in a chain has seen. */
  function counted(where: string, ...chain: [family: string, table: string, chain: string]): number {
    const packets = /counter packets (\d+)/.exec(lab.run(where, 'nft', 'list', 'chain', ...chain))?.[1];
    expect(packets, `a counter in ${chain.join(' ')} of ${where}`).toBeDefined();
    return Number(packets);
  }

  /** Counts what namespaces report as too large, and drops all ICMP in them if they are to be silent. */
  function watch(places: readonly string[], { silent }: { readonly silent: boolean }): Watch {
    const drop = silent ? 'meta l4proto icmp drop' : '';
    const rules = `table inet watch {
      chain too_large {
        type filter hook output priority -500
        icmp type destination-unreachable icmp code frag-needed counter
      }
      chain leaving {
        type filter hook output priority -400
        ${drop}
      }
      chain passing {
        type filter hook prerouting priority -500
        ${drop}
      }
    }`;
    for (const where of places) lab.run(where, 'nft', rules);
    return {
      tooLarge: () => places.map((where) => counted(where, 'inet', 'watch', 'too_large')),
      [Symbol.dispose]: () => {
        for (const where of places) lab.run(where, 'nft', 'delete table inet watch');
      },
    };
  }

  it('has the network that its boot arguments say', async () => {
    expect(await ok('cat /sys/class/net/eth0/mtu')).toBe('1500\n');
    expect(sandbox.mtu).toBe(1420);
    expect(await ok('ip address show eth0')).toContain('inet 169.254.0.21/30 ');
    expect(await ok('ip route')).toContain('default via 169.254.0.22 dev eth0');
  });

  it('reaches the outside and is reached from the host', async () => {
    await ok(`ping -c 1 -W 10 ${OUTSIDE_ADDRESS}`);
    await ok(`ping -c 1 -W 10 ${FAR_ADDRESSES[0]}`);
    lab.run('host', 'ping', '-c', '1', '-W', '10', sandbox.hostAddress);
    const blob = `busybox wget -q -O - http://${sandbox.hostAddress}/blob | sha256sum`;
    expect(lab.run('host', 'sh', '-c', blob)).toContain(digest.guest);
  });

  it('moves 10 MiB each way where all ICMP is dropped, by clamped segments', async () => {
    using path = watch([sandbox.netns, router(), 'host', 'outside'], { silent: true });
    expect(await download(OUTSIDE_ADDRESS)).toBe(digest.outside);
    expect(await upload(OUTSIDE_ADDRESS)).toBe(digest.guest);
    // Nothing was too large; it is not that a report was dropped which somebody could do without.
    expect(path.tooLarge()).toEqual([0, 0, 0, 0]);
    // And it would have shown: the guest believes in its own MTU still, and hears nothing of the truth.
    await guest.run(`traceroute -F -n -q 1 -f 9 -m 9 -w 1 ${OUTSIDE_ADDRESS} 1500`);
    expect(path.tooLarge()).toEqual([1, 0, 0, 0]);
  });

  it('moves 10 MiB each way over a path that is narrower than its host knows, by ICMP errors', async () => {
    using routers = watch(['outside', 'far'], { silent: false });
    expect(await upload(FAR_ADDRESSES[0])).toBe(digest.guest);
    expect(routers.tooLarge()).toEqual([POSITIVE, 0]);
    // To the address that the guest knows the way to by now, it would open with segments that fit.
    expect(await download(FAR_ADDRESSES[1])).toBe(digest.outside);
    expect(routers.tooLarge()).toEqual([expect.anything(), POSITIVE]);
  });

  it.each([
    { bytes: 1500, target: FAR_ADDRESSES[1], narrow: 'its own TAP’s network', reports: [POSITIVE, 0] },
    { bytes: 1400, target: FAR_ROUTER, narrow: 'a router outside', reports: [0, POSITIVE] },
  ])('sends an echo of $bytes bytes through once $narrow has told it', async ({ bytes, target, reports }) => {
    using routers = watch([sandbox.netns, 'outside'], { silent: false });
    // The first is lost to the report; then the guest sends fragments.
    await ok(`ping -c 3 -s ${bytes - ECHO_HEADERS} ${target}`);
    expect(routers.tooLarge()).toEqual(reports);
  });

  it('sends from its own address and MAC only', async () => {
    const spoofed = (): number => counted(router(), 'inet', 'culvert', 'spoofed');
    const before = spoofed();
    await ok('ip address add 10.11.0.2/32 dev eth0');
    // a guest that has forgotten where its gateway is would ask in ARP from the false address, and get no answer
    await ok('ping -c 1 -W 10 169.254.0.22');
    const forge = `ping -c 3 -W 2 -I 10.11.0.2 ${OUTSIDE_ADDRESS}`;
    expect(await guest.run(forge)).toMatchObject({ status: 1, output: expect.stringContaining('100% packet loss') });
    await expect.poll(spoofed, { timeout: 10_000 }).toBeGreaterThan(before);
    const after = spoofed();
    const mac = (await ok('cat /sys/class/net/eth0/address')).trim();
    await ok('ip link set eth0 address 02:fc:00:00:00:07');
    expect(await guest.run(`ping -c 1 -W 2 ${OUTSIDE_ADDRESS}`)).toMatchObject({ status: 1 });
    expect(spoofed()).toBe(after);
    expect(repairs).toEqual([]);
    await ok(`ip link set eth0 address ${mac} && ping -c 1 -W 10 ${OUTSIDE_ADDRESS}`);
  });
});
