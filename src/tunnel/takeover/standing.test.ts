import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { waitUntil } from '../../../lab/wait.ts';
import { Kernel } from '../../linux/apply.ts';
import { useOwnNamespace } from '../../linux/nftables/testing/own-namespace.ts';
import { ProgramStart } from '../../linux/wireguard/program.ts';
import { ROOT } from '../../plan/state.ts';
import { parseKey } from '../../plan/wireguard/key.ts';
import { removeDevice } from '../device/device.ts';
import { tunHolder } from '../owner/tun-holder.ts';
import { standingAt } from './standing.ts';

useOwnNamespace();

it('is a program of ours that nobody has marked yet, whether it answers or not, until it has ended', () => {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-standing-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  using kernel = new Kernel(folder, [ROOT]);
  const privateKey = parseKey(execFileSync('wg', ['genkey'], { encoding: 'utf8' }).trim());
  const parts = { kernel, name: 'vpn', folder, privateKey, at: ROOT };
  expect(standingAt(parts)).toBeUndefined();
  using start = new ProgramStart(folder, 'vpn');
  waitUntil(() => start.isDone());
  const pid = tunHolder('vpn')?.process.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  const standing = standingAt(parts);
  process.kill(pid, 'SIGCONT');
  expect(standing).toMatchObject({ backend: 'userspace', folder, fwMark: 0 });
  removeDevice(parts, standing?.link);
  expect(standingAt(parts)).toBeUndefined();
});
