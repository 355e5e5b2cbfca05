import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import { SyscallError } from '../syscall.ts';
import { GET } from './uapi.ts';
import { UapiSocket } from './uapi-socket.ts';

/**
 * Where wireguard-go makes its socket is compiled in and the same for all namespaces of the network: two of one name
 * would take it from each other. So it sees a folder of our own there:
 *
 *     its mount namespace    /run/wireguard ── the folder ── NAME.sock    ours
 *
 * It goes to the background when its link and its socket are there, and has no capability but for networks.
 */
const SCRIPT = `
  set -e
  cd "$1"
  mount -t tmpfs -o mode=0755 culvert /run
  mkdir /run/wireguard
  mount --bind . /run/wireguard
  exec setpriv --no-new-privs --bounding-set=-all,+net_admin wireguard-go "$2"`;

const START_MS = 10_000;

/**
 * Starts wireguard-go in the calling thread's network namespace, where its link and its UDP socket are born. It outlives
 * this process, and ends when its link or its socket is removed.
 *
 * @param folder for its socket and its log
 * @param name of the link
 * @throws CulvertError `no_wireguard` where there is no such program; `wireguard_failed` with what it said
 */
export function startProgram(folder: string, name: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const log = openSync(join(folder, `${name}.log`), 'w', 0o600);
  try {
    const parameters = ['--mount', '--propagation', 'private', 'sh', '-c', SCRIPT, 'sh', folder, name];
    const { status, signal, error } = spawnSync('unshare', parameters, {
      stdio: ['ignore', log, log],
      timeout: START_MS,
      env: { PATH: process.env['PATH'], LOG_LEVEL: 'error' },
    });
    if (error !== undefined || status !== 0) fail(folder, name, error?.message ?? `it ended with ${signal ?? status}`);
    waitForAnswer(folder, name, performance.now() + START_MS);
  } finally {
    closeSync(log);
  }
}

/**
 * What is in the background by now has yet to look for its link by name, and ends where that has been moved away or
 * renamed meanwhile. When it answers it has.
 */
function waitForAnswer(folder: string, name: string, deadline: number): void {
  for (;;) {
    try {
      using socket = new UapiSocket(folder, `${name}.sock`);
      return void socket.ask(`see ${name} start`, GET);
    } catch (error) {
      if (!(error instanceof CulvertError)) throw error;
      const isLate = error.cause instanceof SyscallError && error.cause.errnoName === 'EAGAIN';
      if (!isLate || performance.now() > deadline) fail(folder, name, error.message);
    }
  }
}

function fail(folder: string, name: string, how: string): never {
  // it opens with a box that recommends the kernel's own
  const said = readFileSync(join(folder, `${name}.log`), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !/^[┌│└]/.test(line))
    .join('; ');
  const isMissing = /wireguard-go: No such file/.test(said);
  throw new CulvertError(
    isMissing ? 'no_wireguard' : 'wireguard_failed',
    `Cannot start a WireGuard in user space for ${name}: ${how}${said === '' ? '' : `: ${said}`}`,
  );
}
