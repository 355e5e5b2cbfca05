import type { Kernel } from '../../linux/apply.ts';
import {
  deleteLegacyForward,
  hasLegacyFilter,
  insertLegacyForward,
  listLegacyForward,
} from '../../linux/iptables-legacy.ts';
import type { NetlinkSocket, Request } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { readGeneration } from '../../linux/nftables/generation.ts';
import { isIntact } from '../../linux/nftables/intact.ts';
import { observeTable } from '../../linux/nftables/observe.ts';
import { replaceRuleset } from '../../linux/nftables/ruleset.ts';
import { deleteTable } from '../../linux/nftables/table.ts';
import { isRunning } from '../../linux/route/ifreq.ts';
import type { Plan } from '../../plan/diff.ts';
import type { Ruleset, Table } from '../../plan/ruleset.ts';
import { ROOT } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import type { Problem } from '../event.ts';
import { rootRuleset } from '../ruleset/root.ts';
import type { Survey } from '../survey.ts';
import { FormerSettings } from './former.ts';
import { ForwardAccept } from './forward.ts';
import { type Host, isRootCable, rootCable } from './objects.ts';

const UPLINK_MS = 1000;

export type RootParts = {
  readonly host: Host;
  readonly kernel: Kernel;
  readonly survey: Survey;
  /** of NETLINK_NETFILTER, in the root namespace */
  readonly netfilter: NetlinkSocket;
  /** NFLOG group that drops are reported to */
  readonly reportGroup: number;
  /** a file for what the host's settings were before */
  readonly formerSettings: string;
  /** names one life of the kernel */
  readonly bootId: string;
  /** the root's end of the cable by which goes what is for hosts on the same link, where there is one */
  readonly direct?: string;
  /** tables of others that are to drop what sandboxes send as well */
  readonly isShut?: (table: Table) => boolean;
};

/**
 * What Culvert has in the root namespace, which belongs to others: one cable with its routes, one table, two rules in
 * chains that would drop what the sandboxes send, one setting of the uplink. It is put there once, watched and put
 * back, and taken away without a trace.
 */
export class RootNamespace {
  readonly #parts: RootParts;
  readonly #ruleset: Ruleset;
  readonly #forward: ForwardAccept;
  readonly #former: FormerSettings;
  readonly #legacyRules: readonly string[];
  /** whether the uplink has a carrier; undefined where there is none of the name */
  #isUp: boolean | undefined;
  #uplinkMs = Number.NEGATIVE_INFINITY;
  /** of nf_tables, when its rules were last looked at */
  #generation: number | undefined;

  constructor(parts: RootParts) {
    const { host, netfilter, reportGroup, formerSettings, bootId, direct, isShut } = parts;
    const { hostRange, bridgeRange } = host.layout;
    const cable = rootCable(host.instance).name;
    this.#parts = parts;
    const { instance, inbound } = host;
    this.#ruleset = rootRuleset({ instance, cable, ranges: [hostRange, bridgeRange], reportGroup, inbound });
    this.#forward = new ForwardAccept(netfilter, this.#ruleset.table, cable, { direct, isShut });
    this.#former = new FormerSettings(formerSettings, bootId, netfilter);
    const cables = direct === undefined ? [cable] : [cable, direct];
    this.#legacyRules = cables.flatMap((name) => [`-i ${name} -j ACCEPT`, `-o ${name} -j ACCEPT`]);
  }

  /** Puts everything in its place; the router namespace too, which the cable ends in. */
  setUp(): void {
    // they need nothing else, and stand between sandboxes and the host
    this.#ensureRules();
    this.#apply(this.#parts.survey.hostPlan());
  }

  /**
   * Puts back what others have taken away or changed.
   *
   * @param repaired hears what it was, each time before the next is looked at: that may not be possible
   */
  watch(repaired: (repairs: readonly string[]) => void): void {
    const { survey, netfilter } = this.#parts;
    // before it looks: what is changed meanwhile is looked at again
    this.#generation = readGeneration(netfilter);
    const rules = this.#ensureRules();
    if (rules.length > 0) repaired(rules);
    const plan = survey.isRootWhole() ? [] : survey.hostPlan();
    this.#apply(plan);
    if (plan.length > 0) repaired(planText(plan).split('\n'));
  }

  /** Whether somebody has changed rules, whatever they are, since {@link watch} looked at them: cheap to ask. */
  haveRulesChanged(): boolean {
    return readGeneration(this.#parts.netfilter) !== this.#generation;
  }

  /** What a person has to see to; the uplink was looked at less than {@link UPLINK_MS} ago. */
  problems(nowMs: number): Problem[] {
    const { kernel, host } = this.#parts;
    const { uplink } = host;
    if (uplink === undefined) {
      const remedy = 'set uplink, or give the host a default route, and start the daemon again';
      const message = `No sandbox gets out: the host has no uplink that is known; ${remedy}`;
      return [{ code: 'no_uplink', message }];
    }
    if (nowMs - this.#uplinkMs >= UPLINK_MS) {
      this.#uplinkMs = nowMs;
      this.#isUp = kernel.withSocket(ROOT, (socket) => isRunning(socket, uplink));
    }
    if (this.#isUp === true) return [];
    const why = this.#isUp === undefined ? 'is not there' : 'is down';
    return [{ code: 'no_uplink', message: `No sandbox gets out: the uplink ${uplink} ${why}` }];
  }

  /** The rules that are missing, in words; what is missing of objects {@link Survey.hostPlan} tells. */
  missingRules(): string[] {
    return this.#rules().map(({ text }) => text);
  }

  /**
   * Opens the way through the tables of ip_tables, where they would drop. Netlink does not reach them, so it is done at
   * a start and not watched.
   *
   * @throws CulvertError `iptables_failed`
   */
  openLegacy(): void {
    if (!hasLegacyFilter()) return;
    const lines = listLegacyForward();
    if (!lines.includes('-P FORWARD DROP')) return;
    insertLegacyForward(this.#legacyRules.filter((rule) => !lines.includes(`-A FORWARD ${rule}`)));
  }

  /** Takes everything away but the router namespace. */
  remove(): void {
    const { kernel, host, netfilter } = this.#parts;
    this.#forward.remove();
    if (hasLegacyFilter()) {
      const lines = listLegacyForward();
      deleteLegacyForward(this.#legacyRules.filter((rule) => lines.includes(`-A FORWARD ${rule}`)));
    }
    if (observeTable(netfilter, this.#ruleset.table) !== undefined) {
      applyTransaction(netfilter, [deleteTable(this.#ruleset.table)]);
    }
    this.#former.leave();
    kernel.deleteLinks(ROOT, [rootCable(host.instance)]);
    // what is changed for one daemon's sandboxes holds for every other daemon's on this host
    if (!kernel.look(ROOT).links.some(({ link }) => isRootCable(link))) this.#former.restore();
  }

  #apply(plan: Plan): void {
    const settings = plan.flatMap(({ object }) =>
      object.kind === 'sysctl' && object.namespace === ROOT ? [object.name] : [],
    );
    if (settings.length > 0) this.#former.keep(settings);
    this.#parts.kernel.apply(plan);
  }

  #ensureRules(): string[] {
    const rules = this.#rules();
    if (rules.length > 0) {
      applyTransaction(
        this.#parts.netfilter,
        rules.flatMap(({ requests }) => requests),
      );
    }
    return rules.map(({ text }) => text);
  }

  #rules(): { readonly text: string; readonly requests: readonly Request[] }[] {
    const { table } = this.#ruleset;
    const isOurs = isIntact(this.#parts.netfilter, this.#ruleset);
    const own = { text: `replace table ${table.family} ${table.name}`, requests: replaceRuleset(this.#ruleset) };
    const accepts = this.#forward.missing().map((request) => ({ text: request.attempt, requests: [request] }));
    return isOurs ? accepts : [own, ...accepts];
  }
}
