import { readFileSync, readlinkSync } from 'node:fs';
import { type ProcessId, processOf } from '../../linux/process.ts';
import { numbersIn, processesHere, programOf, quietly } from './processes.ts';

/** The process that a TUN link lives by. */
export type TunHolder = {
  readonly process: ProcessId;
  /** of its executable, without folders */
  readonly program: string;
};

/** The driver's device; one may stand elsewhere too, so that its numbers are asked for where the name differs. */
const DEVICE = '/dev/net/tun';

/**
 * Who holds the TUN link of a name: of the processes in the caller's network namespace, those that it may look into. The
 * kernel tells it nowhere else than beside the descriptor (`iff:` in /proc/PID/fdinfo, drivers/net/tun.c).
 */
export function tunHolder(name: string): TunHolder | undefined {
  for (const pid of processesHere()) {
    const process = holds(pid, name) ? processOf(pid) : undefined;
    if (process !== undefined) return { process, program: programOf(pid) };
  }
  return undefined;
}

function holds(pid: number, name: string): boolean {
  return numbersIn(`/proc/${pid}/fd`).some((fd) => {
    const target = quietly(() => readlinkSync(`/proc/${pid}/fd/${fd}`));
    if (target !== DEVICE) return false;
    const info = quietly(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'));
    return info?.split('\n').includes(`iff:\t${name}`) === true;
  });
}
