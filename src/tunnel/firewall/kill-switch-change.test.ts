import { describe, expect, it } from 'vitest';
import { LineProcess } from '../../../lab/line-process.ts';
import type { LabNamespace } from '../../../lab/namespace.ts';
import { parseIp } from '../../addr/ip.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { newTable } from '../../linux/nftables/table.ts';
import { bringTo, removeFirewall } from './keeper.ts';
import { killSwitchTable } from './kill-switch.ts';
import { MARK, OPTIONS, useKillSwitchStage } from './testing/stage.ts';

/* A kill switch that is put in place, and changed, while packets pass: see the drawing in testing/stage.ts. */

let host: LabNamespace;
let netfilter: NetlinkSocket;
useKillSwitchStage((made) => {
  ({ host, netfilter } = made);
});

/** Sends until its input ends, to where it may and to where it may not, and counts what the kernel let pass. */
const FLOOD = `
  import { connect, send, setsockopt, socket } from ${JSON.stringify(import.meta.resolve('../../linux/syscall.ts'))};
  const open = (address, mark) => {
    const fd = socket(2, 2, 0);
    setsockopt(fd, 1, 36, mark);
    connect(fd, Uint8Array.of(2, 0, 51_820 >>> 8, 51_820 & 255, ...address, 0, 0, 0, 0, 0, 0, 0, 0), 'connect');
    return fd;
  };
  const fds = [open([198, 51, 100, 7], ${MARK}), open([198, 51, 100, 9], 0)];
  const counts = [[0, 0], [0, 0]];
  const byte = Uint8Array.of(1);
  let goes = true;
  const round = () => {
    for (let i = 0; i < 200; i++) for (const [index, fd] of fds.entries()) {
      try { send(fd, byte); counts[index][0]++; } catch (error) {
        // the second is what the rejection of the one before has left
        if (['EPERM', 'EHOSTUNREACH'].includes(error.errnoName)) counts[index][1]++;
        // the far end has no such port, and says so
        else if (error.errnoName !== 'ECONNREFUSED') throw error;
      }
    }
    if (goes) setImmediate(round); else console.log(JSON.stringify(counts));
  };
  process.stdin.on('data', () => { goes = false; });
  console.log('sending');
  round();
`;

describe('a kill switch that is changed while packets pass', () => {
  /** What was sent and what was refused, to the endpoint and to another. */
  async function during(
    rounds: number,
    change: (round: number) => void,
  ): Promise<[[number, number], [number, number]]> {
    using flood = new LineProcess(host.path, process.execPath, ['--input-type=module-typescript', '-e', FLOOD]);
    expect(await flood.line()).toBe('sending');
    for (let round = 0; round < rounds; round++) change(round);
    return JSON.parse(await flood.ask('end')) as [[number, number], [number, number]];
  }

  it('loses nothing where an endpoint comes or goes beside, and lets nothing out', async () => {
    bringTo(netfilter, killSwitchTable(OPTIONS));
    const [toEndpoint, toOther] = await during(300, (round) => {
      const moved = { address: parseIp(`198.51.100.${100 + (round % 100)}`), port: 51_820 };
      const table = killSwitchTable({ ...OPTIONS, endpoints: [...OPTIONS.endpoints, moved] });
      // one line for each element that changed, so the table itself stays
      expect(bringTo(netfilter, table).join('\n')).not.toContain('replace table');
    });
    expect(toEndpoint[0]).toBeGreaterThan(0);
    expect(toEndpoint[1]).toBe(0);
    expect(toOther[0]).toBe(0);
    expect(toOther[1]).toBeGreaterThan(0);
  });

  it('lets nothing out where all of it is put in place again', async () => {
    bringTo(netfilter, killSwitchTable(OPTIONS));
    const [toEndpoint, toOther] = await during(60, () => {
      host.run('nft', 'flush', 'chain', 'inet', 'culvert_kill_t0', 'pass');
      expect(bringTo(netfilter, killSwitchTable(OPTIONS))).toEqual(['replace table inet culvert_kill_t0']);
    });
    expect(toEndpoint[0]).toBeGreaterThan(0);
    expect(toOther[0]).toBe(0);
  });
});

it('refuses a name that another program has taken', () => {
  applyTransaction(netfilter, [newTable({ family: 'inet', name: 'culvert_kill_t0' }, 'mine')]);
  try {
    expect(() => bringTo(netfilter, killSwitchTable(OPTIONS))).toThrow('nft delete table inet culvert_kill_t0');
    expect(() => removeFirewall(netfilter, 'kill switch', 't0')).toThrow('another program made it');
  } finally {
    host.run('nft', 'delete', 'table', 'inet', 'culvert_kill_t0');
  }
});
