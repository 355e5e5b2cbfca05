import { formatPrefix } from '../../addr/prefix.ts';
import { BRIDGE_PORTS, type BridgeUsage } from '../../ipam/bridge/usage.ts';

/** Of the addresses so much is left, or of the ports so many, where the bridge is called nearly full … */
const LEFT = { share: 0.1, ports: 23 } as const;
/** … and so many times that, where it is so no more: a bridge on the border is not told of again and again. */
const EASED = 1.5;

/**
 * Says that the bridge is nearly full before it is.
 *
 * @param strangers ports that are none of a sandbox
 * @param before whether it was nearly full a moment ago
 * @returns what to tell a person; undefined where there is room
 */
export function fillingText(usage: BridgeUsage, strangers: number, before: boolean): string | undefined {
  const { range, free, probing, live, quarantined, conflicts } = usage;
  const addresses = free + probing + live + quarantined + conflicts;
  const used = live + quarantined + conflicts;
  const ports = live + strangers;
  const factor = before ? EASED : 1;
  const fewAddresses = used > 0 && free + probing <= Math.ceil(addresses * LEFT.share) * factor;
  const fewPorts = BRIDGE_PORTS - ports <= LEFT.ports * factor;
  if (!fewAddresses && !fewPorts) return undefined;
  const kinds = [
    `${live} are live`,
    `${quarantined} in quarantine`,
    ...(conflicts === 0 ? [] : [`${conflicts} at which another answers`]),
  ];
  const left = `${free + probing} of ${addresses} addresses of ${formatPrefix(range)} (${kinds.join(', ')})`;
  const advice = fewAddresses ? 'remove sandboxes or set a larger ranges.bridge' : 'remove sandboxes';
  return `The bridge is nearly full: it has left ${left} and ${Math.max(0, BRIDGE_PORTS - ports)} of ${BRIDGE_PORTS} ports; ${advice}`;
}
