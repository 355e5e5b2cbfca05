import { ROOT } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import type { SeenPeer } from '../../plan/wireguard/device.ts';
import { TunnelDevice } from '../device/device.ts';
import type { Resolved } from '../endpoint/resolve.ts';
import { withNetfilter } from '../firewall/inside.ts';
import { difference, removeFirewall } from '../firewall/keeper.ts';
import { latestPeer, SESSION_MS } from '../handshake/wait.ts';
import { hear } from '../inside/heard.ts';
import { whomToAsk } from '../inside/whom.ts';
import type { Mark } from '../owner/mark.ts';
import { deviceOf } from '../plan/device.ts';
import { takenNumbers } from '../plan/numbers.ts';
import { fullFamilies, type Numbers, TUNNEL_PROTOCOL, tunnelObjects } from '../plan/routing.ts';
import type { Standing } from '../takeover/standing.ts';
import { atLeast } from '../underlay/ways.ts';
import type { Connected } from './connected.ts';
import type { ConnectRequest } from './request.ts';
import { ownMark, Wanted } from './wanted.ts';
import type { Workplace } from './workplace.ts';

/** Takes over what a dead client has left where it is just what is wanted: no link is made, and no session ends. */
export class Adopting {
  readonly #place: Workplace;
  readonly #request: ConnectRequest;
  readonly #wanted: Wanted;
  /** why it was not */
  readonly notices: string[] = [];
  /** of what was wanted before and is not now */
  readonly #dropped: string[] = [];

  constructor(place: Workplace, request: ConnectRequest) {
    this.#place = place;
    this.#request = request;
    this.#wanted = new Wanted(place, request);
  }

  /** undefined where it is otherwise, or nothing of ours */
  async run({ link, backend, folder, mark }: Standing, signal: AbortSignal): Promise<Connected | undefined> {
    const { kernel, name, at } = this.#place;
    if (mark === undefined) return undefined;
    let device: TunnelDevice | undefined;
    try {
      device = TunnelDevice.open({ kernel, name, folder, at }, link, backend);
      const peer = latestPeer(device.read());
      const isLive = peer !== undefined && Date.now() - peer.lastHandshakeMs < SESSION_MS;
      const numbers = this.#numbersOf(mark);
      const resolved = isLive && numbers !== undefined ? await this.#wanted.resolve(numbers) : undefined;
      if (peer === undefined || resolved === undefined || numbers === undefined) {
        device[Symbol.dispose]();
        return undefined;
      }
      const mtu = this.#mtuOf(device, this.#wanted.mtu(resolved, numbers));
      const differs = this.#differences(device, resolved, { numbers, mtu });
      if (differs.length > 0) {
        device[Symbol.dispose]();
        this.notices.push(`not adopted, since it differs: ${differs.slice(0, 3).join('; ')}`);
        return undefined;
      }
      if (!(await this.#answers(device, peer, signal))) {
        device[Symbol.dispose]();
        this.notices.push('not adopted, since its peer does not answer');
        return undefined;
      }
      device.mark(ownMark(numbers.fwMark));
      this.#dropTables(numbers);
      const said = [...this.#wanted.askNames(), ...this.#wanted.tellPast()];
      const notices = [
        ...resolved.unresolved.values(),
        ...said,
        ...this.#dropped,
        `adopted ${name}, which a dead client had left as it is to be`,
      ];
      return { device, numbers, mtu, peer, resolved, notices, wasAdopted: true };
    } catch (error) {
      device?.[Symbol.dispose]();
      this.notices.push(`not adopted: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** A session may be young, and the peer be gone: it is asked within the session, which does not end by it. */
  async #answers(device: TunnelDevice, peer: SeenPeer, signal: AbortSignal): Promise<boolean> {
    const { config, timeoutMs } = this.#request;
    if (timeoutMs === 0) return true;
    const of = config.peers.find(({ publicKey }) => publicKey === peer.publicKey);
    const whom = of === undefined ? [] : whomToAsk(config, of);
    if (whom.length === 0) return false;
    const { kernel, at } = this.#place;
    const inside = { kernel, at, link: device.link };
    const listening = { inside, peer: peer.publicKey, whom, isContent: true, timeoutMs, signal };
    return (await hear(() => device.read(), listening)) !== 'nothing';
  }

  /** What has been found to pass is kept where it is less. @param computed bytes */
  #mtuOf(device: TunnelDevice, computed: number): number {
    const { mtu, addresses } = this.#request.config;
    const found = device.seen?.end.mtu ?? computed;
    return mtu === undefined && found < computed && found >= atLeast(0, addresses) ? found : computed;
  }

  /** Of one that was wanted otherwise before. */
  #dropTables(numbers: Numbers): void {
    const { netfilter, name } = this.#place;
    if (this.#request.allow === undefined && removeFirewall(netfilter, 'kill switch', name)) {
      this.#dropped.push('the kill switch that stood is taken away: none is wanted any more');
    }
    if (this.#wanted.way(numbers) !== undefined) return;
    withNetfilter(this.#place, (socket) => removeFirewall(socket, 'way', name));
  }

  /** Those that its rules have; undefined where they have none, as of half of a tunnel. */
  #numbersOf({ fwMark }: Mark): Numbers | undefined {
    const { config } = this.#request;
    const taken = this.#place.kernel.withSocket(ROOT, takenNumbers);
    const chosen = this.#wanted.numbers();
    const priorities = { ...chosen.priorities };
    for (const family of fullFamilies(config)) {
      const rule = taken.rules[family].find((one) => one.protocol === TUNNEL_PROTOCOL && one.mark?.value === fwMark);
      if (rule === undefined) return undefined;
      priorities[family] = rule.priority;
    }
    const isOfConfig = config.fwMark === undefined || config.fwMark === fwMark;
    const isNeeded = chosen.fwMark !== 0;
    return isOfConfig && isNeeded === (fwMark !== 0) ? { fwMark, priorities } : undefined;
  }

  #differences(
    device: TunnelDevice,
    resolved: Resolved,
    { numbers, mtu }: { readonly numbers: Numbers; readonly mtu: number },
  ): string[] {
    const { netfilter, at } = this.#place;
    const { config } = this.#request;
    const known = { endpoints: resolved.endpoints, fwMark: numbers.fwMark };
    const edits = device.difference(deviceOf(config, known, false), Date.now());
    const plan = this.#wanted.plan(tunnelObjects(config, device.link, numbers, at));
    const way = this.#wanted.way(numbers);
    const killSwitch = this.#wanted.killSwitch(resolved, numbers);
    const end = device.seen?.end;
    return [
      ...edits.map(({ verb }) => `the device (${verb})`),
      ...(plan.length === 0 ? [] : planText(plan).split('\n')),
      ...((way && withNetfilter(this.#place, (socket) => difference(socket, way))) ?? []),
      ...(killSwitch === undefined ? [] : difference(netfilter, killSwitch)),
      ...(end?.mtu === mtu && end.up ? [] : [`the link has MTU ${end?.mtu}`]),
    ];
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
