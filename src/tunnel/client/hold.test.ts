import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processOf } from '../../linux/process.ts';
import { hold, holderOf } from './hold.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-hold-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('a tunnel’s folder', () => {
  it('that is held by who keeps the tunnel is refused at once, with who that is', () => {
    using _ = hold('vpn', folder, 'keeping');
    expect(holderOf(folder)).toEqual(processOf(process.pid));
    expect(() => hold('vpn', folder, 'keeping')).toThrow(`pid ${process.pid} keeps it`);
    expect(() => hold('vpn', folder, 'cleaning')).toThrow(expect.objectContaining({ code: 'tunnel_in_use' }));
  });

  it('is nobody’s while one only cleans', () => {
    using _ = hold('vpn', folder, 'cleaning');
    expect(holderOf(folder)).toBeUndefined();
  });

  it('that is held by who cleans is waited for', async () => {
    const lock = join(folder, 'lock');
    const cleaner = spawn('flock', [lock, 'sh', '-c', `echo "$$ cleaning" >${lock}; echo held; sleep 0.3`]);
    await once(cleaner.stdout, 'data');
    using _ = hold('vpn', folder, 'keeping');
    expect(holderOf(folder)).toEqual(processOf(process.pid));
  });

  it('is waited for where its holder is gone, and a child of that has yet to run its program', async () => {
    const lock = join(folder, 'lock');
    // its parent has ended when it says so
    const script = `sh -c 'echo $$' >${lock}; echo held; exec sleep 0.3`;
    const child = spawn('flock', [lock, 'sh', '-c', script]);
    await once(child.stdout, 'data');
    using _ = hold('vpn', folder, 'keeping');
    expect(holderOf(folder)).toEqual(processOf(process.pid));
  });

  it('is held by nobody when its holder is gone', () => {
    hold('vpn', folder, 'keeping')[Symbol.dispose]();
    expect(holderOf(folder)).toBeUndefined();
    using _ = hold('vpn', folder, 'keeping');
  });
});
