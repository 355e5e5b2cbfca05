import { join } from 'node:path';
import { Guest } from './guest.ts';
import { find } from './image.ts';

/** Of the checkout, and of what it needs to run. */
const ROOT = join(import.meta.dirname, '..', '..');
const TREE = ['package.json', 'tsconfig.json', 'bin', 'src', 'lab', 'bench', 'test'];
const PACKAGES = ['@koromix/koffi-linux-x64', '@leichtgewicht', 'commander', 'dns-packet', 'koffi', 'zod'];

/** Programs, with the Debian package of each. */
const PROGRAMS = {
  bash: 'bash',
  sh: 'dash',
  ip: 'iproute2',
  ss: 'iproute2',
  ping: 'iputils-ping',
  nft: 'nftables',
  mount: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  unshare: 'util-linux',
  wg: 'wireguard-tools',
  'wg-quick': 'wireguard-tools',
  'wireguard-go': 'wireguard-go',
};

/** Each is loaded by itself: nothing there asks for one by its alias. */
const MODULES = 'wireguard veth tun bridge nf_tables nft_ct nft_fib_inet nft_reject_inet'.split(' ');

/** Where the checkout is there. */
const PLACE = '/culvert';

/** What the image has no place for: links, and files that others are mounted on. */
const PREPARE = [
  `mkdir -p /etc ${PLACE}/.cache ${PLACE}/node_modules/.bin`,
  'touch /etc/resolv.conf /etc/hosts',
  'ln -s /usr/bin/bash /bin/bash',
  'ln -s /proc/self/fd /dev/fd',
  `ln -s /usr/bin/node ${PLACE}/node_modules/.bin/node`,
].join(' && ');

/** What is compiled once need not be again by each process. */
const ENVIRONMENT = 'export NODE_COMPILE_CACHE=/tmp/compiled';

/**
 * A guest whose kernel has WireGuard, with this checkout and what tunnels need. It has one processor: an emulated machine
 * of several lets programs that write their own code crash.
 *
 * @param lifetime_s seconds, after which it ends by itself
 * @throws CulvertError `guest_unavailable`, `guest_failed`
 */
export async function bootCulvertGuest(lifetime_s: number): Promise<Guest> {
  const tree = [...TREE, ...PACKAGES.map((name) => join('node_modules', name))];
  const guest = await Guest.boot(undefined, {
    memory_MiB: 768,
    lifetime_s,
    contents: {
      modules: MODULES,
      programs: [process.execPath, ...Object.entries(PROGRAMS).map(([name, from]) => find(name, from))],
      files: Object.fromEntries(tree.map((path) => [join(PLACE.slice(1), path), join(ROOT, path)])),
    },
  });
  const { status, output } = await guest.run(PREPARE);
  if (status === 0) return guest;
  await guest[Symbol.asyncDispose]();
  throw new Error(`Cannot prepare a guest: ${output}`);
}

/** The shell's line that runs a program of the checkout in such a guest. */
export function inCheckout(...command: readonly string[]): string {
  return `${ENVIRONMENT}; cd ${PLACE} && ${command.join(' ')}`;
}
