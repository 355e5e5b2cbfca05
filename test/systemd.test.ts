import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const unit = readFileSync(join(root, 'systemd/culvert.service'), 'utf8');

/** Options that leave a service in the mount, network and user namespaces of the host; systemd.exec(5). */
const HARMLESS = new Set([
  'Type',
  'EnvironmentFile',
  'ExecStart',
  'Restart',
  'RestartSec',
  'RestartPreventExitStatus',
  'WatchdogSec',
  'TimeoutStartSec',
  'TimeoutStopSec',
  'KillMode',
  'RuntimeDirectory',
  'RuntimeDirectoryMode',
  'RuntimeDirectoryPreserve',
  'StateDirectory',
  'StateDirectoryMode',
  'CapabilityBoundingSet',
  'NoNewPrivileges',
  'RestrictNamespaces',
  'RestrictAddressFamilies',
  'DevicePolicy',
  'DeviceAllow',
  'SystemCallArchitectures',
  'LockPersonality',
  'RestrictRealtime',
  'RestrictSUIDSGID',
  'LimitNOFILE',
  'OOMScoreAdjust',
]);

/** The options of the unit's [Service], by name. */
function serviceOptions(text: string): Map<string, string> {
  const [, section = ''] = /^\[Service\]\n(.*?)^\[Install\]/ms.exec(text) ?? [];
  const lines = section.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

const options = serviceOptions(unit);

describe('the systemd unit', () => {
  it('has no option that could hide the pins, or take the host’s network away', () => {
    expect(options.size).toBeGreaterThan(10);
    expect([...options.keys()].filter((name) => !HARMLESS.has(name))).toEqual([]);
  });

  it('leaves the sandboxes running and their pins in place', () => {
    expect(Object.fromEntries(options)).toMatchObject({
      Type: 'notify',
      KillMode: 'process',
      RuntimeDirectory: 'culvert',
      RuntimeDirectoryPreserve: 'yes',
      StateDirectory: 'culvert',
      WatchdogSec: expect.stringMatching(/^[1-9][0-9]*$/),
      RestartPreventExitStatus: '2',
    });
  });

  it('lets the daemon use the devices and address families that it does', () => {
    expect(options.get('DeviceAllow')).toBe('/dev/net/tun rw');
    expect(options.get('RestrictNamespaces')).toBe('net mnt');
    expect(options.get('RestrictAddressFamilies')?.split(' ').toSorted()).toEqual([
      'AF_INET',
      'AF_NETLINK',
      'AF_PACKET',
      'AF_UNIX',
    ]);
  });
});

const isPresent = spawnSync('systemd-analyze', ['--version']).status === 0;

describe.skipIf(!isPresent)('systemd-analyze', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'culvert-unit-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([
    ['culvert.service', 'culvert.service'],
    ['culvert-connect@.service', 'culvert-connect@wg0.service'],
  ])('finds nothing wrong with %s', (file, name) => {
    const path = join(folder, name);
    const text = readFileSync(join(root, 'systemd', file), 'utf8');
    writeFileSync(path, text.replaceAll('/opt/culvert/', `${root}/`));
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });
});
