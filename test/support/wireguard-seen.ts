import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { HostDaemon } from './host-daemon.ts';

type Shown = {
  readonly privateKey: string | undefined;
  readonly publicKey: string;
  readonly peers: readonly {
    readonly publicKey: string | undefined;
    readonly allowed: string | undefined;
    /** s since the epoch */
    readonly handshake: string | undefined;
  }[];
};

/** What wg(8) tells of a device in a daemon's router, by the socket of its program or by the kernel. */
export function wgShow({ runDir }: HostDaemon, name: string): Shown {
  const script =
    'mount -t tmpfs culvert /run; mkdir /run/wireguard; mount --bind "$1" /run/wireguard; exec wg show "$2" dump';
  const shell = ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', script, 'sh'];
  const router = join(runDir, 'netns', 'router');
  const { stdout, stderr } = spawnSync('nsenter', [`--net=${router}`, ...shell, join(runDir, 'wireguard'), name]);
  const [own = '', ...peers] = stdout.toString().trimEnd().split('\n');
  const [privateKey, publicKey] = own.split('\t');
  const said = peers.map((line) => {
    const [key, , , allowed, handshake] = line.split('\t');
    return { publicKey: key, allowed, handshake };
  });
  return { privateKey, publicKey: `${publicKey}${stderr.toString()}`, peers: said };
}

/** The programs that make a device in a network namespace, and the links that they make. */
export function programsIn(pin: string): { readonly pid: number; readonly link: string }[] {
  const wanted = `[${statSync(pin).ino}]`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const [command, link = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        const isThere = command === 'wireguard-go' && readlinkSync(`/proc/${pid}/ns/net`).includes(wanted);
        return isThere ? [{ pid: Number(pid), link }] : [];
      } catch {
        // it has ended meanwhile
        return [];
      }
    });
}
