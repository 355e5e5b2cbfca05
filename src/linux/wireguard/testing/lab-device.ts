import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitUntil } from '../../../../lab/wait.ts';
import { NamespaceHandle } from '../../namespace.ts';
import { NETLINK_ROUTE } from '../../netlink/constants.ts';
import { NetlinkSocket, type Request } from '../../netlink/socket.ts';
import { linkIndex } from '../../route/ifreq.ts';
import { deleteLink } from '../../route/link.ts';
import { moveLink } from '../../route/move.ts';
import { newWireguard } from '../../route/wireguard.ts';
import type { WireguardBackend } from '../backend.ts';
import { KernelWireguard } from '../kernel.ts';
import { ProgramStart } from '../program.ts';
import { UserspaceWireguard } from '../userspace.ts';
import type { Side } from './hosts.ts';
import { until } from './until.ts';

/** In its router; chosen, so that it shows whether the choice is kept. */
export const WG0 = { name: 'wg0', index: 909 };
const MTU = 1420;

/** A device of a test, whatever makes it. Its link is in the router, and its UDP socket in the host. */
export type LabDevice = AsyncDisposable & {
  open(): WireguardBackend;
  /** Before a command: has wg(8) find the device in it. */
  readonly around: readonly string[];
  /** Ends it as nobody would who means well. */
  kill(): void;
};

/** A way to make devices. */
export type DeviceMaker = { readonly name: string; readonly make: (side: Side) => LabDevice };

export const kernelDevices: DeviceMaker = {
  name: 'kernel',
  make({ host, router }) {
    using namespace = new NamespaceHandle(router.path);
    host.within(() => say(newWireguard(WG0, MTU, namespace.fd)));
    const open = (): KernelWireguard => router.within(() => new KernelWireguard(WG0.name));
    const remove = (): void => router.within(() => removeLink(WG0.name));
    return {
      open,
      around: ['nsenter', `--net=${router.path}`],
      kill: remove,
      async [Symbol.asyncDispose]() {
        if (router.within(() => indexOf(WG0.name)) === undefined) return;
        using backend = open();
        // a link that goes waits for a grace period for each peer that it still has
        backend.edit([...backend.read().peers.keys()].map((publicKey) => ({ verb: 'remove', publicKey })));
        remove();
      },
    };
  },
};

/** wg(8) looks for sockets where wireguard-go makes them, so it has to be shown the folder there. */
const SHOW_FOLDER = `
  set -e
  cd "$1"
  shift
  mount -t tmpfs culvert /run
  mkdir /run/wireguard
  mount --bind . /run/wireguard
  exec "$@"`;

export const programDevices: DeviceMaker = {
  name: 'user space',
  make({ host, router }) {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-wireguard-'));
    using namespace = new NamespaceHandle(router.path);
    host.within(() => {
      using start = new ProgramStart(folder, WG0.name);
      waitUntil(() => start.isDone());
      const index = indexOf(WG0.name);
      if (index !== undefined) say(moveLink({ name: WG0.name, index }, WG0.index, namespace.fd));
    });
    const program = programIn(host.path, WG0.name);
    return {
      open: () => new UserspaceWireguard(folder, WG0.name),
      around: ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', SHOW_FOLDER, 'sh', folder],
      kill: () => void process.kill(program, 'SIGKILL'),
      async [Symbol.asyncDispose]() {
        if (commandOf(program) !== '') process.kill(program);
        // only then are its link and its port another's; what has no memory any more may still have files
        const hasLink = (): boolean => router.within(() => indexOf(WG0.name)) !== undefined;
        await until('wireguard-go to end', () => commandOf(program) === '' && !hasLink());
        rmSync(folder, { recursive: true });
      },
    };
  },
};

/** Runs a command that finds the device by wg(8), and gives what it printed. */
export function runAround(device: LabDevice, ...command: string[]): string {
  const [program = '', ...rest] = [...device.around, ...command];
  return execFileSync(program, rest, { encoding: 'utf8', stdio: 'pipe', maxBuffer: 64 * 1024 * 1024 });
}

/** In the calling thread's namespace. */
function say(request: Request): void {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  socket.request(request);
}

/** In the calling thread's namespace; undefined where there is none. */
export function indexOf(name: string): number | undefined {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return linkIndex(socket, name);
}

function removeLink(name: string): void {
  const index = indexOf(name);
  if (index !== undefined) say(deleteLink({ name, index }));
}

/** The id of the process that makes a link; it has gone to the background, and is nobody's child. */
function programIn(namespace: string, name: string): number {
  const wanted = readlinkSync(namespace);
  const pids = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  const found = pids.find((pid) => commandOf(pid) === `wireguard-go\0${name}\0` && namespaceOf(pid) === wanted);
  if (found === undefined) throw new Error(`There is no wireguard-go for ${name}`);
  return Number(found);
}

/** The words that a process was started with, a zero after each; none where it has ended, waited for or not. */
function commandOf(pid: number | string): string {
  return unlessGone(() => readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
}

function namespaceOf(pid: string): string {
  return unlessGone(() => readlinkSync(`/proc/${pid}/ns/net`));
}

function unlessGone(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
