import type { ProcessId } from '../../linux/process.ts';

/**
 * Who made a tunnel's link and keeps it, as the link itself says (IFLA_IFALIAS, ip-link(8)): it is there as long as the
 * link is, whatever becomes of files.
 */
export type Mark = {
  readonly owner: ProcessId;
  /** of its encrypted packets, and number of its table of routes; 0 for none */
  readonly fwMark: number;
};

const FORMAT = /^culvert tunnel 1 pid (\d{1,10}) start (\d{1,20}) fwmark (\d{1,10})$/;

/** of IFLA_IFALIAS: IFALIASZ of linux/if.h, with the 0 at its end */
export const ALIAS_MAX = 255;

export function markText({ owner, fwMark }: Mark): string {
  return `culvert tunnel 1 pid ${owner.pid} start ${owner.startTicks} fwmark ${fwMark}`;
}

/** undefined where it is none of ours */
export function readMark(alias: string): Mark | undefined {
  const [, pid, startTicks, fwMark] = FORMAT.exec(alias) ?? [];
  if (pid === undefined) return undefined;
  return { owner: { pid: Number(pid), startTicks: Number(startTicks) }, fwMark: Number(fwMark) };
}
