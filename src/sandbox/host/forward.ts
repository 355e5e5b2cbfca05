import type { NetlinkSocket, Request } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import {
  deleteRule,
  type ForeignChain,
  insertRule,
  listCommented,
  listForwards,
} from '../../linux/nftables/foreign.ts';
import type { Table } from '../../plan/ruleset.ts';
import { accept, counter, iifname, oifname, rule } from '../../plan/words.ts';

export type ForwardOptions = {
  /** of the cable by which goes what is for hosts on the same link, where there is one */
  readonly direct?: string | undefined;
  /** tables that are to drop what sandboxes send as well */
  readonly isShut?: ((table: Table) => boolean) | undefined;
};

/**
 * Keeps the sandboxes' way open through chains of others whose policy is to drop what is forwarded, as Docker sets it:
 * an accept in a table of our own does not undo a drop in another's. Two rules for each cable stand at the head of each
 * such chain.
 */
export class ForwardAccept {
  readonly #socket: NetlinkSocket;
  readonly #own: Table;
  readonly #isShut: (table: Table) => boolean;
  readonly #rules: ReadonlyMap<string, ReturnType<typeof rule>>;

  /**
   * @param socket of NETLINK_NETFILTER, in the root namespace
   * @param own table of this daemon, whose rules need none
   * @param cable the root's end of the cable to the router
   */
  constructor(socket: NetlinkSocket, own: Table, cable: string, { direct, isShut = () => false }: ForwardOptions = {}) {
    this.#socket = socket;
    this.#own = own;
    this.#isShut = isShut;
    this.#rules = new Map([
      [`${own.name} from sandboxes`, rule(iifname(cable), counter, accept)],
      [`${own.name} to sandboxes`, rule(oifname(cable), counter, accept)],
      ...(direct === undefined
        ? []
        : ([
            [`${own.name} to other hosts`, rule(iifname(direct), counter, accept)],
            [`${own.name} from other hosts`, rule(oifname(direct), counter, accept)],
          ] as const)),
    ]);
  }

  /** What puts in the rules that are missing. */
  missing(): Request[] {
    const chains = this.#chains().filter(({ isDropping, table }) => isDropping && !this.#isShut(table));
    return chains.flatMap((chain) => {
      const present = new Set(listCommented(this.#socket, chain).map(({ comment }) => comment));
      return [...this.#rules]
        .filter(([comment]) => !present.has(comment))
        .map(([comment, words]) => insertRule(chain, words, comment));
    });
  }

  /** Takes them out of every chain, whatever its policy is now. */
  remove(): void {
    const requests = this.#chains().flatMap((chain) =>
      listCommented(this.#socket, chain)
        .filter(({ comment }) => this.#rules.has(comment))
        .map((found) => deleteRule(chain, found)),
    );
    if (requests.length > 0) applyTransaction(this.#socket, requests);
  }

  #chains(): ForeignChain[] {
    return (['ip', 'inet'] as const)
      .flatMap((family) => listForwards(this.#socket, family))
      .filter(({ table }) => table.family !== this.#own.family || table.name !== this.#own.name);
  }
}
