import { type Ipv4, ipv4Bytes } from '../../addr/ipv4.ts';
import type { Rule, Ruleset } from '../../plan/ruleset.ts';
import {
  accept,
  atMost,
  counter,
  drop,
  equals,
  goto,
  iifname,
  isArpFrame,
  isIcmp,
  isIn,
  isIpv4Frame,
  isNotIn,
  report,
  rule,
} from '../../plan/words.ts';
import {
  BRIDGE_TABLE,
  DENIED_PORTS,
  ICMP_ERROR_TYPES,
  ICMP_ERRORS,
  PORTS,
  SANDBOX_LINKS,
  SPOOFERS,
  TRANSMIT_LIMITS,
} from './names.ts';
import { overLimit, spoofedChain } from './router.ts';

/** RFC 826 */
const ARP_REPLY = Uint8Array.of(0, 2);
/** Of an ARP probe (RFC 5227), which asks whether an address is taken without claiming it. */
const NO_ADDRESS = new Uint8Array(4);

const isOwnArp: Rule = rule(
  isIn(['iif', 'ether saddr', 'arp saddr ip'], 'ports'),
  isIn(['iif', 'arp saddr ether', 'arp saddr ip'], 'ports'),
);

/**
 * Packets a second, and packets, of ARP from all ports together. The router knows sandboxes and they know it by
 * permanent entries, so that little of it has a use, and a flood must not drown an answer to a probe.
 */
const ARP_RATE = 200;
const ARP_BURST = 400;

export type BridgeOptions = {
  /** the router's address on the bridge */
  readonly gateway: Ipv4;
  /** NFLOG group that drops are reported to */
  readonly reportGroup: number;
};

/**
 * The table of the router's bridge: from a port come only frames with the addresses that are bound to it, in IP as in
 * ARP, and none goes from port to port.
 */
export function bridgeRuleset({ gateway, reportGroup }: BridgeOptions): Ruleset {
  return {
    table: BRIDGE_TABLE,
    sets: [PORTS, TRANSMIT_LIMITS, ICMP_ERRORS, SPOOFERS, DENIED_PORTS],
    elements: [{ set: ICMP_ERRORS, elements: ICMP_ERROR_TYPES.map((type) => ({ key: [type] })) }],
    chains: [
      {
        name: 'prerouting',
        base: { type: 'filter', hook: 'prerouting', priority: -300, policy: 'accept' },
        rules: [rule(iifname(SANDBOX_LINKS), goto('from_port'))],
      },
      {
        name: 'from_port',
        rules: [
          overLimit,
          rule(isIpv4Frame, goto('ip_from_port')),
          rule(isArpFrame, goto('arp_from_port')),
          rule(counter, drop),
        ],
      },
      {
        name: 'ip_from_port',
        rules: [
          // An error is about a packet that was sent to this port's address, not to another's on the bridge.
          rule(
            isIcmp,
            isIn(['icmp type'], 'icmp_errors'),
            isNotIn(['iif', 'ether saddr', 'quoted daddr'], 'ports'),
            goto('spoofed'),
          ),
          rule(isIn(['iif', 'ether saddr', 'ip saddr'], 'ports'), accept),
          goto('spoofed'),
        ],
      },
      {
        name: 'arp_from_port',
        rules: [
          rule(isOwnArp, atMost(ARP_RATE, ARP_BURST), goto('own_arp')),
          rule(isOwnArp, counter, drop),
          rule(equals('arp saddr ip', NO_ADDRESS), counter, drop),
          goto('spoofed'),
        ],
      },
      {
        // Ports are isolated, so nobody would hear a question for another's address; it tells that one is wanted.
        name: 'own_arp',
        rules: [
          rule(equals('arp daddr ip', ipv4Bytes(gateway)), accept),
          rule(equals('arp operation', ARP_REPLY), accept),
          rule(isIn(['iif', 'ether saddr', 'arp daddr ip'], 'ports'), accept),
          goto('denied'),
        ],
      },
      {
        name: 'forward',
        base: { type: 'filter', hook: 'forward', priority: -200, policy: 'drop' },
        rules: [counter],
      },
      spoofedChain(reportGroup),
      { name: 'denied', rules: [report('denied', reportGroup, 'iif', DENIED_PORTS.name), drop] },
    ],
  };
}
