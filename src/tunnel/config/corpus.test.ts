import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatIp, isIpv6 } from '../../addr/ip.ts';
import { formatIpPrefix } from '../../addr/ip-prefix.ts';
import { TunnelHosts } from '../../linux/wireguard/testing/hosts.ts';
import { type LabDevice, programDevices, runAround, WG0 } from '../../linux/wireguard/testing/lab-device.ts';
import type { TunnelConfig } from './config.ts';
import { tunnelName } from './name.ts';
import { readTunnelConfig } from './read.ts';
import { corpus } from './testing/corpus.ts';
import { dumpOf, readDump } from './testing/dump.ts';
import { QuickStage } from './testing/quick-stage.ts';
import { writeTunnelConfig } from './write.ts';

let hosts: TunnelHosts;
let device: LabDevice;
let stage: QuickStage;
let folder: string;

beforeAll(async () => {
  hosts = await TunnelHosts.make();
  device = programDevices.make(hosts.left);
  stage = new QuickStage();
  folder = mkdtempSync(join(tmpdir(), 'culvert-corpus-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  stage[Symbol.dispose]();
  await device[Symbol.asyncDispose]();
  await hosts[Symbol.asyncDispose]();
});

/** The device after it was told what wg-quick(8) leaves of a file. */
function told(text: string, name: string): { readonly dump: string; readonly showconf: string } {
  const path = join(folder, `${name}.conf`);
  writeFileSync(path, text);
  const stripped = join(folder, 'stripped');
  writeFileSync(stripped, stage.strip({ name, path, text }));
  runAround(device, 'wg', 'setconf', WG0.name, stripped);
  return {
    dump: runAround(device, 'wg', 'show', WG0.name, 'dump'),
    showconf: runAround(device, 'wg', 'showconf', WG0.name),
  };
}

/** What wg-quick(8) runs of what is its own: addresses, MTU, DNS, a route, and hooks. */
function commandsOf({ addresses, mtu, dns, table, hooks }: TunnelConfig, name: string): string[] {
  const search = dns.search.length === 0 ? [] : [`stdin search ${dns.search.join(' ')}`];
  const into = typeof table === 'number' ? ` table ${table}` : '';
  return [
    ...addresses.map((one) => `ip ${isIpv6(one.address) ? '-6' : '-4'} address add ${formatIpPrefix(one)} dev ${name}`),
    `ip link set mtu ${mtu ?? 1420} up dev ${name}`,
    ...dns.servers.map((server) => `stdin nameserver ${formatIp(server)}`),
    ...(dns.servers.length === 0 ? [] : search),
    ...(table === 'off' ? [] : [`ip -4 route add 10.99.0.0/16 dev ${name}${into}`]),
    ...[...hooks.preUp, ...hooks.postUp].map((hook) => `[#] ${hook.replaceAll('%i', name)}`),
  ];
}

/** The same, of what it ran, in our one form of an address and of a table. */
function plainCommand(command: string): string {
  return command
    .replace(/^(ip -[46] address add )(\S+)/, (_, head: string, text: string) => head + plainAddress(text))
    .replace(/ table main$/, ' table 254')
    .replace(/ table 0x([0-9a-f]+)$/, (_, digits: string) => ` table ${Number.parseInt(digits, 16)}`);
}

function plainAddress(text: string): string {
  const config = `[Interface]\nPrivateKey = ${'B'.repeat(42)}A=\nAddress = ${text}`;
  return readTunnelConfig(config).addresses.map(formatIpPrefix).join();
}

describe.each(corpus)('$name', (sample) => {
  const config = readTunnelConfig(sample.text);
  const name = tunnelName(sample.path);

  it('means the same to a device as what wg-quick(8) leaves of it for wg(8)', () => {
    expect(name).toBe(sample.name);
    const { dump, showconf } = told(sample.text, name);
    expect(readDump(dump, config)).toEqual(dumpOf(config));
    const saved = stage.save(sample, config, showconf);
    const again = readTunnelConfig(saved);
    const table = config.table === 'auto' ? '' : `Table = ${config.table}\n`;
    expect(writeTunnelConfig(again)).toBe(saved.replace(/^Table = .*\n/m, table).replace(/^PostUp = \n/m, ''));
    // a link forgets these: domains, a name, and that any port will do
    const lost = { dns: config.dns, peers: again.peers };
    const { listenPort: _, ...rest } = again;
    const { listenPort: asked, ...wanted } = config;
    expect({ ...rest, ...lost }).toEqual({ ...wanted, peers: again.peers });
    if (asked !== undefined) expect(again.listenPort).toBe(asked);
  });

  it('means the same once it is written anew', () => {
    const text = writeTunnelConfig(config);
    const unplaced = (one: TunnelConfig): unknown => ({
      ...one,
      peers: one.peers.map((peer) => ({ ...peer, line: 0 })),
    });
    expect(unplaced(readTunnelConfig(text))).toEqual(unplaced(config));
    expect(readDump(told(text, name).dump, config)).toEqual(dumpOf(config));
  });

  it('means to a link what wg-quick(8) makes of it', () => {
    const own = /^(ip -[46] address add|ip link set mtu|stdin|ip -[46] route add|\[#\])/;
    const ran = stage.up(sample).filter((command) => own.test(command));
    expect(ran.map(plainCommand)).toEqual(commandsOf(config, name));
  });
});
