import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../errors.ts';
import { FolderLock } from '../linux/folder.ts';
import { isNamespace, NamespaceHandle } from '../linux/namespace.ts';
import { NETLINK_ROUTE } from '../linux/netlink/constants.ts';
import { NetlinkSocket } from '../linux/netlink/socket.ts';
import type { NamespaceState } from '../linux/observe/namespace.ts';
import { getLink } from '../linux/route/link.ts';
import { ROUTER } from '../plan/state.ts';
import { rootCable, UPLINK } from '../sandbox/host/objects.ts';
import type { Config } from './config/config.ts';

/*
 * What two daemons on one host may not share. One that took another's pins for its own would find no lease for any of
 * them, and remove them all.
 */

/**
 * Holds the run folder for this process alone. The engine holds the state folder likewise.
 *
 * @returns what lets go of it; more than once is harmless
 * @throws CulvertError `folder_in_use`, `run_folder`
 */
export function claimRunFolder({ runDir, stateDir }: Config): Disposable {
  try {
    mkdirSync(runDir, { recursive: true });
  } catch (cause) {
    const why = String((cause as NodeJS.ErrnoException).code);
    throw new CulvertError('run_folder', `Cannot make the run folder ${runDir}: ${why}`, { cause });
  }
  const stack = new DisposableStack();
  // where both are one folder, the engine's lock says it all
  if (runDir !== stateDir) stack.use(new FolderLock(runDir));
  return stack;
}

/**
 * The name stands in the root namespace, so of two daemons with one name the second would take the first one's cable
 * for its own. It is ours exactly where the other end is in the router that our run folder pins: both ends go together.
 *
 * @throws CulvertError `name_in_use`
 */
export function assertNameFree({ name, runDir }: Config, { links }: NamespaceState): void {
  const cable = rootCable(name).name;
  if (!links.some(({ link }) => link.name === cable) || hasUplink(join(runDir, 'netns', ROUTER))) return;
  const whose = `the link ${cable} is of another daemon, with another run folder than ${runDir}`;
  throw new CulvertError('name_in_use', `Cannot use the name ${name}: ${whose}`);
}

function hasUplink(router: string): boolean {
  if (!isNamespace(router)) return false;
  using namespace = new NamespaceHandle(router);
  using socket = namespace.run(() => new NetlinkSocket(NETLINK_ROUTE));
  const [error] = socket.batch([getLink(UPLINK)]);
  if (error === undefined) return true;
  if (error.errnoName === 'ENODEV') return false;
  throw error;
}
