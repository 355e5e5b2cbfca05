import type { Kernel } from '../../linux/apply.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { observeTable } from '../../linux/nftables/observe.ts';
import { deleteTable } from '../../linux/nftables/table.ts';
import { listPolicyRules } from '../../linux/observe/rules.ts';
import { deletePolicyRule, type PolicyRule } from '../../linux/route/rule.ts';
import { type Family, ROOT } from '../../plan/state.ts';

export type QuickParts = {
  readonly kernel: Kernel;
  readonly netfilter: NetlinkSocket;
  readonly name: string;
};

const FAMILIES: readonly Family[] = ['inet', 'inet6'];

/**
 * Takes away what `wg-quick up` has made beside the link, which must be gone. Its rules say nothing of a tunnel but by
 * the mark: of the two that it adds for a default route the one without a mark stands just before the other. Another
 * tunnel's stay, which `wg-quick down` would take along.
 *
 * @param fwMark that the device had; 0 for none
 * @returns what was done, in words
 */
export function sweepQuick({ kernel, netfilter, name }: QuickParts, fwMark: number): string[] {
  const rules = fwMark === 0 ? [] : FAMILIES.flatMap((family) => removeRules(kernel, family, fwMark));
  const tables = (['ip', 'ip6'] as const).flatMap((family) => {
    const table = { family, name: `wg-quick-${name}` };
    if (observeTable(netfilter, table) === undefined) return [];
    applyTransaction(netfilter, [deleteTable(table)]);
    return [`nft delete table ${family} ${table.name}`];
  });
  return [...rules, ...tables];
}

function removeRules(kernel: Kernel, family: Family, fwMark: number): string[] {
  return kernel.withSocket(ROOT, (socket) => {
    const all = listPolicyRules(socket, ROOT, { family, protocol: 'each' });
    const marked = all.filter((rule) => isQuick(rule) && rule.table === fwMark && rule.mark?.value === fwMark);
    const before = new Set(marked.map(({ priority }) => priority - 1));
    const suppressing = all.filter(
      (rule) =>
        isQuick(rule) && rule.suppressPrefixLength === 0 && rule.mark === undefined && before.has(rule.priority),
    );
    const gone = [...marked, ...suppressing];
    const failure = socket.batch(gone.map(deletePolicyRule)).find((error) => error !== undefined);
    if (failure !== undefined && failure.errnoName !== 'ENOENT') throw failure;
    return gone.map(({ priority }) => `ip ${family === 'inet6' ? '-6 ' : ''}rule delete priority ${priority}`);
  });
}

/** Its rules have no protocol, and ask for nothing else. */
function isQuick({ protocol, iif, oif, from, to, asksMore }: PolicyRule): boolean {
  return [protocol, iif, oif, from, to, asksMore].every((value) => value === undefined);
}
