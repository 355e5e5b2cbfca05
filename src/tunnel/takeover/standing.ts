import { join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import type { Kernel } from '../../linux/apply.ts';
import { findLinkNamed, type SeenLink } from '../../linux/observe/links.ts';
import { isRunning } from '../../linux/process.ts';
import { KernelWireguard } from '../../linux/wireguard/kernel.ts';
import { UserspaceWireguard } from '../../linux/wireguard/userspace.ts';
import { plainText } from '../../plain-text.ts';
import type { Link, NamespaceName } from '../../plan/state.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { publicKeyOf } from '../../plan/wireguard/private-key.ts';
import type { BackendKind } from '../device/device.ts';
import { type Mark, readMark } from '../owner/mark.ts';
import { makersOf, programOf, WIREGUARD_PROGRAMS } from '../owner/processes.ts';
import { tunHolder } from '../owner/tun-holder.ts';

/** A link that stands where a tunnel's is to be, and that a dead client has left. */
export type Standing = {
  readonly link: Link;
  readonly backend: BackendKind;
  /** with the socket of a program */
  readonly folder: string;
  /** absent where another program made it, with our key */
  readonly mark?: Mark;
  /** of its encrypted packets; 0 for none */
  readonly fwMark: number;
};

export type StandingParts = {
  readonly kernel: Kernel;
  readonly name: string;
  /** where a program's socket is that we made */
  readonly folder: string;
  /** of the tunnel that is to be there */
  readonly privateKey: Key;
  /** where it is to be */
  readonly at: NamespaceName;
};

/** Where wireguard-go and others have their sockets unless they are told otherwise. */
const SOCKETS = '/var/run/wireguard';
/** How long a link may stay that nobody holds any more. */
const SETTLING_MS = 500;
const LOOK_MS = 5;
const IDLE = new Int32Array(new SharedArrayBuffer(4));

/**
 * What stands under a name, as the kernel tells.
 *
 * @returns undefined where nothing does
 * @throws CulvertError `tunnel_in_use` where somebody alive keeps it, `link_in_use` where it is no tunnel of this key, with
 *   what it is
 */
export function standingAt({ kernel, name, folder, privateKey, at }: StandingParts): Standing | undefined {
  const seen = settledLink(kernel, at, name);
  if (seen === undefined) return undefined;
  const { link } = seen.end;
  const mark = readMark(seen.alias);
  if (mark !== undefined) {
    assertAbandoned('connect', name, mark);
    const backend = seen.kind === 'wireguard' ? 'kernel' : 'userspace';
    return { link, backend, folder, mark, fwMark: mark.fwMark };
  }
  if (seen.kind === 'wireguard') {
    using device = kernel.inside(at, () => new KernelWireguard(name));
    const found = device.read();
    assertSameKey(name, found.privateKey, privateKey);
    return { link, backend: 'kernel', folder, fwMark: found.fwMark };
  }
  if (seen.kind !== 'tun') throw inUse(name, `a link of kind ${seen.kind ?? 'unknown'}${aliasText(seen)}`);
  return { link, backend: 'userspace', ...readProgram(name, folder, privateKey) };
}

/** The link of a name. One that a process held which is about to be no more goes with it in a moment. */
function settledLink(kernel: Kernel, at: NamespaceName, name: string): SeenLink | undefined {
  for (const beganMs = performance.now(); ; Atomics.wait(IDLE, 0, 0, LOOK_MS)) {
    const seen = kernel.withSocket(at, (socket) => findLinkNamed(socket, at, name));
    const isSettled = seen?.kind !== 'tun' || readMark(seen.alias) !== undefined || tunHolder(name) !== undefined;
    if (isSettled || performance.now() - beganMs > SETTLING_MS) return seen;
  }
}

/** @throws CulvertError `tunnel_in_use` where somebody else keeps it who is alive */
export function assertAbandoned(attempt: string, name: string, { owner }: Mark): void {
  if (owner.pid === process.pid || !isRunning(owner)) return;
  const program = programOf(owner.pid);
  const who = program === '' ? `pid ${owner.pid}` : `${plainText(program, 32)}, pid ${owner.pid}`;
  const message = `Cannot ${attempt} ${name}: it is connected by ${who}; end that (culvert disconnect ${name}), or choose another name`;
  throw new CulvertError('tunnel_in_use', message);
}

/** One that was made and never told a key is half of one. */
function assertSameKey(name: string, found: Key | undefined, wanted: Key): void {
  if (found === undefined || found === wanted) return;
  throw inUse(name, `a WireGuard device with another key (public key ${publicKeyOf(found)})`);
}

/**
 * One of ours has our folder for its own: it was not marked yet, and so told nothing, and may have yet to answer. Another's
 * says which key it has.
 */
function readProgram(name: string, folder: string, privateKey: Key): Pick<Standing, 'folder' | 'fwMark'> {
  const holder = tunHolder(name);
  if (holder === undefined) throw inUse(name, 'a TUN link that no process seen from here holds');
  const { program, process: id } = holder;
  const who = `${plainText(program, 32)}, pid ${id.pid}`;
  if (!WIREGUARD_PROGRAMS.includes(program)) throw inUse(name, `a TUN link of ${who}`);
  if (makersOf(folder, name).some(({ pid }) => pid === id.pid)) return { folder, fwMark: 0 };
  try {
    using device = new UserspaceWireguard(SOCKETS, name);
    const found = device.read();
    assertSameKey(name, found.privateKey, privateKey);
    return { folder: SOCKETS, fwMark: found.fwMark };
  } catch (error) {
    if (!(error instanceof CulvertError && error.code === 'wireguard_away')) throw error;
  }
  throw inUse(name, `a WireGuard device of ${who}, that does not answer at ${join(SOCKETS, `${name}.sock`)}`);
}

function aliasText({ alias }: SeenLink): string {
  return alias === '' ? '' : `, called “${plainText(alias, 64)}”`;
}

function inUse(name: string, what: string): CulvertError {
  const message = `Cannot connect ${name}: there is ${what}; choose another name, or remove that by who made it (ip link delete ${name})`;
  return new CulvertError('link_in_use', message);
}
