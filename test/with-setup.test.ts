import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Ended, ended } from './support/command-line.ts';

/*
 * Set-up on machines that lack something. What is missing is taken away in mount and user namespaces of the run's own.
 */

const WITH_SETUP = resolve(import.meta.dirname, '../tools/with-setup');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-set-up-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs `tools/with-setup demo --help` after a preparation, as the last command of a shell. */
function setUp(prepare: string, wrapper: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const line = [...wrapper, 'bash', '-euc', `${prepare}\nexec bash "$0" demo --help`, WITH_SETUP];
  return ended(spawn('env', line, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] }));
}

const OWN_MOUNTS = ['unshare', '--mount', '--propagation', 'private'];

it('runs where everything is there', async () => {
  const { code, stdout, stderr } = await setUp(':', []);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain('usage: npm run demo');
});

it('says that there is no /dev/net/tun', async () => {
  const { code, stdout, stderr } = await setUp('mount -t tmpfs none /dev/net', OWN_MOUNTS);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^No \/dev\/net\/tun here: load the tun module/);
});

it('says what root lacks in a container without capabilities', async () => {
  const { code, stdout, stderr } = await setUp(':', ['setpriv', '--bounding-set=-sys_admin']);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^Cannot set up network and mount namespaces: root needs CAP_SYS_ADMIN/);
});

it('says that / is no mount point, in a chroot', async () => {
  // the machine as it is, at a folder that nothing is mounted on
  const chroot = `
    mount -t tmpfs none "${folder}" && mkdir "${folder}/root"
    for entry in /*; do
      inside="${folder}/root$entry"
      if [ -L "$entry" ]; then cp -d "$entry" "$inside"
      elif [ -d "$entry" ]; then mkdir "$inside" && mount --rbind "$entry" "$inside"
      fi
    done
    exec chroot "${folder}/root" bash "$0" demo --help`;
  const { code, stdout, stderr } = await setUp(chroot, OWN_MOUNTS);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(
    /^Cannot set up network and mount namespaces: \/ is no mount point here, as in a chroot; .*\n.*Invalid argument\n$/,
  );
});

it('says what the kernel lacks, and what it said', async () => {
  // Stands in for nft(8) on a kernel without nftables.
  writeFileSync(
    join(folder, 'nft'),
    '#!/bin/sh\necho "Error: Could not process rule: Operation not supported" >&2\nexit 1\n',
    {
      mode: 0o755,
    },
  );
  const { code, stdout, stderr } = await setUp(':', [], { PATH: `${folder}:${process.env['PATH']}` });
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toBe(
    'This kernel lacks what Culvert needs:\n  nftables: Error: Could not process rule: Operation not supported\n',
  );
});

it('names the packages that are missing to a user who cannot install them', async () => {
  // /usr/sbin as it is, but without nft
  const without = `
    mkdir "${folder}/sbin" && mount --bind /usr/sbin "${folder}/sbin"
    mount -t tmpfs none /usr/sbin && ln -s "${folder}"/sbin/* /usr/sbin/ && rm /usr/sbin/nft
    exec unshare --user --map-user=1000 --map-group=1000 bash "$0" demo --help`;
  const { code, stdout, stderr } = await setUp(without, OWN_MOUNTS);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toBe('Missing Debian packages: nftables. Install them as root: apt-get install nftables\n');
});
