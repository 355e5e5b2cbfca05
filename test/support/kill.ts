import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LabHost } from '../../lab/host.ts';
import type { Topology } from '../../src/ipam/lease.ts';
import { NamespaceHandle } from '../../src/linux/namespace.ts';
import { pointsOf, readWhenFinished } from './kill-points.ts';
import { type Report, takeOver } from './lab-core.ts';

/*
 * A process that creates, hands out, removes or adopts is killed with SIGKILL at the entry of each of its system calls
 * that change something, one run per call, enumerated and not sampled; where two threads work, each has the count of its
 * own and the first to get there ends both. Then another process takes over, and the
 * machine is compared with the leases. A bystander is live all along.
 */

const PROCESS = join(import.meta.dirname, 'core-process.ts');
/** Calls that change the kernel's objects, and those that make a commit. */
export const KERNEL_CALLS = ['unshare', 'mount', 'umount2', 'unlink', 'ioctl', 'sendto'];
export const COMMIT_CALLS = ['pwrite64', 'fsync', 'ftruncate'];

class Fixture implements Disposable {
  readonly lab = new LabHost();
  readonly topology: Topology;

  constructor(topology: Topology) {
    this.topology = topology;
    this.run('prepare');
  }

  run(command: string, strace?: string): NodeJS.Signals | null {
    const parameters = [`--net=${this.lab.pin('host')}`, process.execPath, PROCESS, this.lab.folder, command];
    const { status, signal, stderr } = spawnSync('nsenter', [...parameters, this.topology], {
      encoding: 'utf8',
      env: {
        ...process.env,
        // most of the time of a run would go into compiling the same modules again
        NODE_COMPILE_CACHE: join(this.lab.folder, 'compiled'),
        ...(strace === undefined ? {} : { STRACE: strace }),
      },
      timeout: 60_000,
    });
    if (status !== 0 && signal !== 'SIGKILL') throw new Error(`${command} failed (${status ?? signal}): ${stderr}`);
    return signal;
  }

  /** Where to kill a command: of each of the calls, which ones on a thread. */
  points(command: string, calls: readonly string[]): { call: string; nths: readonly number[] }[] {
    const log = join(this.lab.folder, 'strace.log');
    this.run(command, `-o ${log} -s 64 -e trace=${calls.join(',')}`);
    const traced = readWhenFinished(log);
    this.takeOver(() => undefined);
    return calls.map((call) => ({ call, nths: pointsOf(call, traced) }));
  }

  takeOver(check: (report: Report) => void): void {
    using host = new NamespaceHandle(this.lab.pin('host'));
    host.run(() => takeOver(this.lab.folder, check));
  }

  [Symbol.dispose](): void {
    this.lab[Symbol.dispose]();
  }
}

/** Describes what a command that is killed leaves behind. */
export function describeKills(topology: Topology, command: string, calls: readonly string[]): void {
  describe(`${command} of a ${topology} network`, () => {
    let fixture: Fixture;
    let inode: number;

    beforeAll(() => {
      fixture = new Fixture(topology);
      inode = bystanderInode(fixture);
    }, 120_000);
    afterAll(() => fixture[Symbol.dispose]());

    it('leaves nothing doubled, leaked or disturbed wherever it is killed', { timeout: 900_000 }, () => {
      const points = fixture.points(command, calls);
      let killed = 0;
      for (const { call, nths } of points) {
        for (const nth of nths) {
          const signal = fixture.run(
            command,
            `-o /dev/null -e trace=${call} -e inject=${call}:signal=KILL:when=${nth}`,
          );
          if (signal !== null) killed++;
          const when = `${command} killed at ${call} ${nth} of ${nths.at(-1)} (${signal ?? 'ran to its end'})`;
          fixture.takeOver((report) => audit(fixture, report, inode, when));
        }
      }
      // How often the last steps of a clean-up look whether it is done depends on time, so a few may come too late; of
      // two threads now one and now the other does more.
      const total = points.reduce((sum, { nths }) => sum + nths.length, 0);
      expect(killed).toBeGreaterThan(Math.max(3, (command === 'helped' ? 0.4 : 0.7) * total));
    });
  });
}

function bystanderInode({ lab }: Fixture): number {
  return statSync(join(lab.folder, 'run', 'netns', 's1')).ino;
}

function audit(fixture: Fixture, report: Report, inode: number, when: string): void {
  const { lab } = fixture;
  const slots = report.sandboxes.map(({ slot }) => slot);
  const names = slots.map((slot) => `s${slot}`).toSorted();
  const router = join(lab.folder, 'run', 'netns', 'router');
  const links = JSON.parse(lab.run(router, 'ip', '-j', 'link')) as { ifname: string }[];
  const map = JSON.parse(lab.run(router, 'nft', '-j', 'list', 'map', 'inet', 'culvert', 'outbound')) as {
    nftables: { map?: { elem?: unknown[] } }[];
  };
  const elements = map.nftables.flatMap((entry) => entry.map?.elem ?? []);
  expect(
    {
      plan: report.plan,
      leases: report.leases.map(({ slot, state }) => `s${slot} ${state}`).toSorted(),
      pins: readdirSync(join(lab.folder, 'run', 'netns')).toSorted(),
      links: links
        .map(({ ifname }) => ifname)
        .filter((name) => /^s\d/.test(name))
        .toSorted(),
      elements: elements.length,
      bystander: report.sandboxes
        .filter(({ id }) => id === 'bystander')
        .map(({ slot, generation }) => [slot, generation]),
      namespace: bystanderInode(fixture),
    },
    when,
  ).toEqual({
    plan: [],
    leases: names.map((name) => `${name} ready`),
    pins: ['router', ...names],
    links: names,
    elements: names.length,
    bystander: [[1, 1]],
    namespace: inode,
  });
  if (fixture.topology !== 'microvm') {
    const address = fixture.topology === 'bridge' ? '10.8.64.2' : '10.11.0.1';
    expect(lab.run('host', 'ping', '-c1', '-W2', address), when).toContain(' 0% packet loss');
  }
}
