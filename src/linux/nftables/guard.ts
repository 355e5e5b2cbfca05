import { formatMac, type Mac } from '../../addr/mac.ts';
import { type Chain, type Ruleset, rulesetDigest, type Table } from '../../plan/ruleset.ts';
import type { Guard } from '../../plan/state.ts';
import { NETLINK_NETFILTER } from '../netlink/constants.ts';
import { NetlinkSocket, type Request, written } from '../netlink/socket.ts';
import { applyTransaction } from './batch.ts';
import { hasRules } from './intact.ts';
import { observeTable } from './observe.ts';
import { createRuleset, replaceRuleset } from './ruleset.ts';
import { deleteTable } from './table.ts';

/*
 * A guard is a table of its own in the namespace of its link: each frame that comes in is looked at before anything
 * else sees it. What takes no socket acts on the namespace that the calling thread is in.
 */

const TABLE: Table = { family: 'netdev', name: 'culvert' };

/** Of a guard that was changed by somebody: no link has this address, so a plan sees a difference. */
const UNKNOWN = new Uint8Array(6) as Mac;

function guardRuleset({ link, mac }: Guard): Ruleset {
  return {
    table: TABLE,
    sets: [],
    elements: [],
    chains: [
      {
        name: link.name,
        base: { type: 'filter', hook: 'ingress', priority: 0, policy: 'accept', device: link.name },
        rules: [
          [
            // the source address of struct ethhdr
            { kind: 'payload', base: 'link', offset: 6, length: 6, into: 8 },
            { kind: 'cmp', from: 8, op: '!=', value: mac },
            { kind: 'verdict', verdict: 'drop' },
          ],
        ],
      },
    ],
  };
}

type Made = {
  readonly link: string;
  readonly mac: Mac;
  readonly creation: readonly Request[];
  readonly replacement: readonly Request[];
  readonly digest: string;
  readonly chains: readonly Chain[];
};

/** All guards of a host are alike, so what makes the last one makes the next. */
let last: Made | undefined;

function made(guard: Guard): Made {
  const { link, mac } = guard;
  if (last?.link !== link.name || (last.mac !== mac && formatMac(last.mac) !== formatMac(mac))) {
    const ruleset = guardRuleset(guard);
    last = {
      link: link.name,
      mac,
      creation: createRuleset(ruleset).map(written),
      replacement: replaceRuleset(ruleset).map(written),
      digest: rulesetDigest(ruleset),
      chains: ruleset.chains,
    };
  }
  return last;
}

/**
 * Makes a guard where there is none. What deletes something too, as a replacement does, makes the kernel wait for a
 * grace period when the socket closes.
 */
export function createGuard(guard: Guard): void {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  applyTransaction(socket, made(guard).creation);
}

export function replaceGuard(guard: Guard): void {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  applyTransaction(socket, made(guard).replacement);
}

export function deleteGuard(): void {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  applyTransaction(socket, [deleteTable(TABLE)]);
}

/**
 * The guard of this link, if any; where it is not as Culvert makes it, with an address that nobody has.
 *
 * @param socket of NETLINK_NETFILTER, in the namespace of the link
 */
export function observeGuard(socket: NetlinkSocket, wanted: Guard): Guard | undefined {
  const found = observeTable(socket, TABLE);
  if (found === undefined) return undefined;
  const { digest, chains } = made(wanted);
  const isWhole = found.digest === digest && !found.isDormant && hasRules(socket, TABLE, chains);
  return isWhole ? wanted : { ...wanted, mac: UNKNOWN };
}
