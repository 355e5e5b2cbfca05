import type { KernelObject } from '../../plan/state.ts';
import { type Attributes, readAttributes, readString } from '../netlink/attribute.ts';
import { NLM_F_CREATE, NLM_F_REPLACE } from '../netlink/constants.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import {
  AF_UNSPEC,
  RTM_DELQDISC,
  RTM_NEWQDISC,
  TC_H_ROOT,
  TCA_KIND,
  TCA_OPTIONS,
  TCA_TBF_BURST,
  TCA_TBF_PARMS,
  TCA_TBF_RATE64,
} from './constants.ts';

type Shaper = Extract<KernelObject, { kind: 'shaper' }>;

/** How long a packet may wait in the shaper's queue; what comes beyond that is dropped. */
const LATENCY_SECONDS = 0.05;
/** The least a queue holds: one packet as the kernel hands them down, segmentation offload included. */
const LEAST_QUEUE_BYTES = 65_536 + 1_514;

const U32_MAX = 0xffffffff;
/** The kernel counts transmission times in ticks of 64 ns (PSCHED_SHIFT 6, include/net/pkt_sched.h). */
const TICK_NS = 64;

/** Sets or, with no interruption, changes the token bucket at the root of a link. */
export function setShaper(shaper: Shaper): Request {
  return {
    attempt: `shape ${shaper.link.name} to ${shaper.rate} bytes per second`,
    type: RTM_NEWQDISC,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    write(writer) {
      writeHeader(writer, shaper.link.index);
      writer.attrString(TCA_KIND, 'tbf').nest(TCA_OPTIONS, (options) => {
        options.attr(TCA_TBF_PARMS, parameters(shaper));
        options.attrU32(TCA_TBF_BURST, shaper.burst);
        if (shaper.rate >= U32_MAX) {
          const rate64 = new Uint8Array(8);
          new DataView(rate64.buffer).setBigUint64(0, BigInt(shaper.rate), true);
          options.attr(TCA_TBF_RATE64, rate64);
        }
      });
    },
  };
}

export function deleteShaper(shaper: Shaper): Request {
  return {
    attempt: `delete the shaper of ${shaper.link.name}`,
    type: RTM_DELQDISC,
    flags: 0,
    write: (writer) => writeHeader(writer, shaper.link.index),
  };
}

/** struct tcmsg */
function writeHeader(writer: MessageWriter, index: number): void {
  writer.u8(AF_UNSPEC).u8(0).u16(0).u32(index).u32(0).u32(TC_H_ROOT).u32(0);
}

/** struct tc_tbf_qopt: rate, peak rate (unused), limit, bucket depth as time, and the minimum packet unit (unused). */
function parameters({ rate, burst }: Shaper): Uint8Array {
  const bytes = new Uint8Array(36);
  const view = new DataView(bytes.buffer);
  // struct tc_ratespec: the kernel wants linklayer Ethernet (1) and the rate; the cell table has been gone since 3.8.
  view.setUint8(1, 1);
  view.setUint32(8, Math.min(rate, U32_MAX), true);
  const queue = Math.max(Math.round(rate * LATENCY_SECONDS), LEAST_QUEUE_BYTES);
  view.setUint32(24, Math.min(queue + burst, U32_MAX), true);
  view.setUint32(28, Math.min(Math.round(((burst / rate) * 1e9) / TICK_NS), U32_MAX), true);
  return bytes;
}

/** The token bucket that a qdisc's attributes describe; undefined for any other kind. */
export function readShaper(qdisc: Attributes): { readonly rate: number; readonly burst: number } | undefined {
  const kind = qdisc.get(TCA_KIND);
  const options = qdisc.get(TCA_OPTIONS);
  if (kind === undefined || options === undefined || readString(kind) !== 'tbf') return undefined;
  const inner = readAttributes(options);
  const parms = inner.get(TCA_TBF_PARMS);
  if (parms === undefined) return undefined;
  const view = new DataView(parms.buffer, parms.byteOffset, parms.length);
  const rate64 = inner.get(TCA_TBF_RATE64);
  const rate =
    rate64 === undefined
      ? view.getUint32(8, true)
      : Number(new DataView(rate64.buffer, rate64.byteOffset, 8).getBigUint64(0, true));
  return { rate, burst: Math.round((view.getUint32(28, true) * TICK_NS * rate) / 1e9) };
}
