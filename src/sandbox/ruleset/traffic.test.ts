import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parsePrefix } from '../../addr/prefix.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { newElements } from '../../linux/nftables/element.ts';
import { addRuleset, replaceRuleset } from '../../linux/nftables/ruleset.ts';
import { compilePolicy } from '../policy/compile.ts';
import { attachmentElements, hostAccessElement, policyRuleset } from './elements.ts';
import { HOST_ACCESS, ROUTER_TABLE, rootTable } from './names.ts';
import { rootRuleset } from './root.ts';
import { routerRuleset } from './router.ts';

/*
 *   guest              sandbox             router            host             outside
 *   ┌──────────────┐   ┌──────────────┐   ┌────────────┐   ┌────────────┐   ┌────────────┐
 *   │ 169.254.0.21 │───│ tap0    eth0 │───│ s1  uplink │───│ cv0     o0 │───│ 192.0.2.7  │
 *   └──────────────┘   └──────────────┘   └────────────┘   └────────────┘   └────────────┘
 *            MTU 1500             1500        1500   1400       1400   1500
 *
 * Real stacks all along. The guest stands in for a virtual machine; the cable between router and host is the narrow
 * part of the path out, and tap0 is made the narrow part of the path in.
 */

const SANDBOX = '02:cf:00:00:00:02';
const ROUTER = '02:cf:00:00:00:01';
const OUTSIDE = '192.0.2.7';
const REACHED_AT = '10.11.0.1';
const OPEN = 1;

let guest: LabNamespace;
let sandbox: LabNamespace;
let router: LabNamespace;
let host: LabNamespace;
let outside: LabNamespace;
let hostNetfilter: NetlinkSocket;

beforeAll(async () => {
  const made = Array.from({ length: 5 }, async () => LabNamespace.make());
  [guest, sandbox, router, host, outside] = (await Promise.all(made)) as [
    LabNamespace,
    LabNamespace,
    LabNamespace,
    LabNamespace,
    LabNamespace,
  ];
  sandbox.ip(
    `link add tap0 address 02:fc:00:00:00:05 type veth peer name eth0 address 02:fc:00:00:00:06 netns ${guest.pid}`,
    'link set tap0 up',
    'address add 169.254.0.22/30 dev tap0',
  );
  router.ip(
    `link add s1 index 10001 address ${ROUTER} type veth peer name eth0 address ${SANDBOX} netns ${sandbox.pid}`,
    `link add uplink mtu 1400 type veth peer name cv0 mtu 1400 netns ${host.pid}`,
    'link set s1 up',
    'link set uplink up',
    'address add 10.12.0.2/31 dev s1',
    'address add 10.9.0.2/30 dev uplink',
    'route add 10.11.0.1/32 via 10.12.0.3 dev s1',
  );
  host.ip(
    `link add o0 type veth peer name eth0 netns ${outside.pid}`,
    'link set o0 up',
    'link set cv0 up',
    'address add 10.9.0.1/30 dev cv0',
    'address add 192.0.2.1/24 dev o0',
    'route add 10.11.0.0/16 via 10.9.0.2',
  );
  guest.ip('link set eth0 up', 'address add 169.254.0.21/30 dev eth0', 'route add default via 169.254.0.22');
  sandbox.ip('link set eth0 up', 'address add 10.12.0.3/31 dev eth0', 'route add default via 10.12.0.2');
  router.ip('route add default via 10.9.0.1');
  outside.ip('link set eth0 up', `address add ${OUTSIDE}/24 dev eth0`);
  for (const namespace of [sandbox, router, host]) namespace.forward();

  using routerNetfilter = router.netfilter();
  const elements = attachmentElements({
    index: 10_001,
    wireAddress: parseIpv4('169.254.0.21'),
    hostAddress: parseIpv4(REACHED_AT),
    policy: OPEN,
    comment: 'a1 generation 1',
  });
  applyTransaction(routerNetfilter, [
    ...replaceRuleset(
      routerRuleset({
        probePort: 51_840,
        uplink: 'uplink',
        reportGroup: 7,
        maxFlows: 1000,
        resolver: parseIpv4('10.12.0.1'),
        host: parseIpv4('10.11.0.0'),
      }),
    ),
    ...addRuleset(policyRuleset(OPEN, compilePolicy({ egress: 'open', allow: [], deny: [] }, []), 'open')),
    ...addRuleset({ table: ROUTER_TABLE, sets: [], chains: [], elements }),
  ]);
  hostNetfilter = host.netfilter();
  const ranges = [parsePrefix('10.11.0.0/16'), parsePrefix('10.8.64.0/24')];
  applyTransaction(
    hostNetfilter,
    replaceRuleset(rootRuleset({ instance: 'test', cable: 'cv0', ranges, reportGroup: 7, inbound: [] })),
  );
});

afterAll(async () => {
  hostNetfilter[Symbol.dispose]();
  await Promise.all([guest, sandbox, router, host, outside].map(async (namespace) => namespace.close()));
});

const SERVER = `
  const server = require('node:net').createServer((socket) => {
    let bytes = 0;
    socket.on('data', (chunk) => (bytes += chunk.length));
    socket.on('end', () => { console.log(bytes + ' from ' + socket.remoteAddress); process.exit(); });
  });
  server.listen(7000, '0.0.0.0', () => console.log('listening'));
  process.stdin.resume().on('end', () => process.exit());
`;

const CLIENT = `
  const socket = require('node:net').connect({ host: process.argv[1], port: 7000 });
  socket.setTimeout(20_000, () => { console.log('timeout'); process.exit(1); });
  socket.on('error', (error) => { console.log(error.code); process.exit(1); });
  socket.end(Buffer.alloc(1 << 20), () => socket.on('close', () => process.exit()));
`;

/** Sends 1 MiB over TCP, and gives what the server says it got and from whom. */
async function upload(from: LabNamespace, to: LabNamespace, address: string): Promise<string> {
  const server = to.start(process.execPath, '-e', SERVER);
  try {
    const lines: string[] = [];
    server.stdout?.on('data', (chunk) => lines.push(...String(chunk).trim().split('\n')));
    await expect.poll(() => lines, { timeout: 20_000 }).toContain('listening');
    const client = from.start(process.execPath, '-e', CLIENT, address);
    client.stdout?.on('data', (chunk) => lines.push(String(chunk).trim()));
    await expect.poll(() => lines.length, { timeout: 20_000 }).toBe(2);
    return lines[1] ?? '';
  } finally {
    const ended = server.exitCode === null ? once(server, 'exit') : undefined;
    server.stdin?.end();
    await ended;
  }
}

describe('a guest', { timeout: 60_000 }, () => {
  it('reaches the outside by ping and TCP, with the address of the host', async () => {
    guest.run('ping', '-c', '1', '-W', '5', OUTSIDE);
    expect(await upload(guest, outside, OUTSIDE)).toBe('1048576 from 192.0.2.1');
  });

  it('is reached from the host by ping and TCP', async () => {
    host.run('ping', '-c', '1', '-W', '5', REACHED_AT);
    expect(await upload(host, guest, REACHED_AT)).toBe('1048576 from 10.9.0.1');
  });

  it('opens no connection to the host until it may', async () => {
    expect(() => guest.run('ping', '-c', '1', '-W', '1', '10.9.0.1')).toThrow();
    expect(host.run('nft', 'list', 'chain', 'inet', 'culvert-test', 'denied')).toContain('counter packets 1 ');
    const element = hostAccessElement(parseIpv4('10.11.0.1'), parseIpv4('10.9.0.1'), 'test');
    applyTransaction(hostNetfilter, newElements(rootTable('test'), HOST_ACCESS, [element]));
    expect(await upload(guest, host, '10.9.0.1')).toBe('1048576 from 10.11.0.1');
  });

  it('learns of a narrow path out', async () => {
    expect(() => guest.run('ping', '-M', 'do', '-s', '1450', '-c', '1', '-W', '5', OUTSIDE)).toThrow();
    await expect.poll(() => guest.run('ip', 'route', 'get', OUTSIDE)).toContain('mtu 1400');
  });

  it('lets others learn of a narrow path in', async () => {
    sandbox.ip('link set tap0 mtu 1300');
    expect(() => host.run('ping', '-M', 'do', '-s', '1350', '-c', '1', '-W', '5', REACHED_AT)).toThrow();
    await expect.poll(() => host.run('ip', 'route', 'get', REACHED_AT)).toContain('mtu 1300');
  });
});
