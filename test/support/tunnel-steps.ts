import childProcess from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { NetlinkSocket } from '../../src/linux/netlink/socket.ts';
import { KernelWireguard } from '../../src/linux/wireguard/kernel.ts';
import { UserspaceWireguard } from '../../src/linux/wireguard/userspace.ts';
import { step, wrap } from './kill-at.ts';

/*
 * Preloaded into a client of a tunnel (`--import`), so that it is killed at a step, see kill-at.ts. Steps are what outlives
 * it: what it says to the kernel and to the program that makes its device, the program itself, and files that it makes or
 * takes away.
 */

type Named = { readonly attempt: string; readonly flags: number; readonly type: number };

/** What only asks, in words: it changes nothing. */
const ASKS = /^(list|get|look|read|find) /;

const attempts = (requests: unknown): string =>
  (requests as Named[])
    .map(({ attempt }) => attempt)
    .join(', ')
    .slice(0, 120);

wrap(NetlinkSocket.prototype, 'batch', (call, [requests]) => {
  const what = attempts(requests);
  return what === '' || ASKS.test(what) ? call() : step(`netlink ${what}`, call);
});
wrap(NetlinkSocket.prototype, 'transaction', (call, [, requests]) => step(`nftables ${attempts(requests)}`, call));
for (const kind of [UserspaceWireguard, KernelWireguard]) {
  wrap(kind.prototype, 'edit', (call, [edits]) => step(`wireguard ${(edits as unknown[]).length} edits`, call));
}
const short = (path: unknown): string => String(path).split('/').slice(-2).join('/');
const WRITES = ['renameSync', 'rmSync', 'symlinkSync', 'writeFileSync', 'writeSync', 'unlinkSync', 'ftruncateSync'];
for (const name of WRITES) {
  wrap(fs, name, (call, [path]) => (path === 1 || path === 2 ? call() : step(`${name} ${short(path)}`, call)));
}
wrap(childProcess, 'spawn', (call, [command]) => step(`spawn ${String(command)}`, call));
syncBuiltinESMExports();
