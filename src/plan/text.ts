import { formatIp, type Ip, isIpv6 } from '../addr/ip.ts';
import { formatIpPrefix } from '../addr/ip-prefix.ts';
import { formatIpv4 } from '../addr/ipv4.ts';
import { formatMac } from '../addr/mac.ts';
import type { Operation, Plan } from './diff.ts';
import { type KernelObject, type LinkEnd, ROOT, ruleFamily } from './state.ts';

/** A plan as a person reads it: a line per step, in the words of ip(8) and tc(8), each with its namespace. */
export function planText(plan: Plan): string {
  return plan.map(operationText).join('\n');
}

const VERBS = { create: 'add', change: 'change', delete: 'delete' } as const;

export function operationText(operation: Operation): string {
  const { object } = operation;
  const where = object.namespace === ROOT ? '' : `-n ${object.namespace} `;
  const verb = VERBS[operation.verb];
  const short = operation.verb === 'delete';
  switch (object.kind) {
    case 'namespace':
      return `ip netns ${verb} ${object.namespace}`;
    case 'loopback':
      return `ip ${where}link set lo ${short ? 'down' : 'up'}`;
    case 'guard':
      return `nft ${where === '' ? '' : `[${object.namespace}] `}${verb} table netdev culvert${short ? '' : ` { iif ${object.link.name} ether saddr != ${formatMac(object.mac)} drop }`}`;
    case 'shaper':
      return `tc ${where}qdisc ${verb} dev ${object.link.name} root tbf${short ? '' : ` rate ${object.rate}bps burst ${object.burst}b`}`;
    case 'port':
      return `ip ${where}link set ${object.link.name} ${short ? 'nomaster' : `master ${object.bridge.name} isolated on learning off`}`;
    case 'sysctl':
      return `${where === '' ? '' : `ip netns exec ${object.namespace} `}sysctl -w ${object.name}=${object.value}`;
    case 'fdb': {
      const { remote } = object;
      const words = `bridge ${where}fdb ${remote !== undefined && verb === 'change' ? 'replace' : verb} ${formatMac(object.mac)} dev ${object.link.name}`;
      if (remote === undefined) return `${words} master static`;
      return `${words} self${short ? '' : ` permanent dst ${formatIpv4(remote.address)} port ${remote.port}`}`;
    }
    case 'rule':
      return `ip ${ruleFamily(object) === 'inet6' ? '-6 ' : ''}${where}rule ${verb} ${ruleText(object)}`;
    case 'vxlan':
      if (operation.verb === 'create') return vxlanText(object);
      return `ip ${where}link ${verb} ${short ? object.link.name : endText(object)}`;
    case 'forwarding':
      return `ip ${where}netconf set dev ${object.link.name} forwarding ${short ? 'off' : 'on'}`;
    case 'veth':
    case 'tap':
    case 'bridge':
      return `ip ${where}link ${verb} ${short ? object.link.name : linkText(object)}`;
    case 'address':
      return `ip ${familyWord(object.address)}${where}address ${verb} ${formatIpPrefix(object)} dev ${object.link.name}${object.nodad === true && !short ? ' nodad' : ''}`;
    case 'neighbour':
      return `ip ${where}neighbour ${verb} ${formatIpv4(object.address)} lladdr ${formatMac(object.mac)} dev ${object.link.name} nud permanent`;
    case 'route':
      return `ip ${familyWord(object.destination.address)}${where}route ${verb} ${routeText(object)}`;
  }
}

/** ip(8) takes IPv4 for granted where a prefix does not say. */
function familyWord(address: Ip): string {
  return isIpv6(address) ? '-6 ' : '';
}

function endText(end: LinkEnd): string {
  return `${end.link.name} index ${end.link.index} address ${formatMac(end.mac)} mtu ${end.mtu} ${end.up ? 'up' : 'down'}`;
}

function linkText(object: Extract<KernelObject, { kind: 'veth' | 'tap' | 'bridge' }>): string {
  switch (object.kind) {
    case 'veth':
      return `${endText(object)} type veth peer ${endText(object.peer)} netns ${object.peer.namespace}`;
    case 'tap':
      return `${endText(object)} txqueuelen ${object.transmitQueue} type tun mode tap`;
    case 'bridge':
      return `${endText(object)} type bridge`;
  }
}

/** As it is said where it is born. */
function vxlanText(object: Extract<KernelObject, { kind: 'vxlan' }>): string {
  const where = object.outside === ROOT ? '' : `-n ${object.outside} `;
  const { vni, port, namespace } = object;
  return `ip ${where}link add ${endText(object)} netns ${namespace} type vxlan id ${vni} dstport ${port} nolearning df set udpcsum`;
}

function ruleText(rule: Extract<KernelObject, { kind: 'rule' }>): string {
  const { priority, iif, oif, from, to, mark, inverted, suppressPrefixLength, protocol, table } = rule;
  const words = [`priority ${priority}`];
  if (inverted === true) words.push('not');
  if (from !== undefined) words.push(`from ${formatIpPrefix(from)}`);
  if (to !== undefined) words.push(`to ${formatIpPrefix(to)}`);
  if (iif !== undefined) words.push(`iif ${iif}`);
  if (oif !== undefined) words.push(`oif ${oif}`);
  if (mark !== undefined) words.push(`fwmark ${hex(mark.value)}${mark.mask === undefined ? '' : `/${hex(mark.mask)}`}`);
  words.push(table === undefined ? 'blackhole' : `lookup ${table}`);
  if (suppressPrefixLength !== undefined) words.push(`suppress_prefixlength ${suppressPrefixLength}`);
  if (protocol !== undefined) words.push(`protocol ${protocol}`);
  return words.join(' ');
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function routeText(route: Extract<KernelObject, { kind: 'route' }>): string {
  const destination = route.destination.length === 0 ? 'default' : formatIpPrefix(route.destination);
  const words = route.type === undefined ? [destination] : [route.type, destination];
  if (route.via !== undefined) {
    const isOther = isIpv6(route.via) && !isIpv6(route.destination.address);
    words.push(`via ${isOther ? 'inet6 ' : ''}${formatIp(route.via)}`);
  }
  if (route.type === undefined) words.push(`dev ${route.link.name}`);
  if (route.onlink === true) words.push('onlink');
  if (route.table !== undefined) words.push(`table ${route.table}`);
  if (route.metric !== undefined) words.push(`metric ${route.metric}`);
  if (route.protocol !== undefined) words.push(`proto ${route.protocol}`);
  if (route.mtu !== undefined) words.push(`mtu ${route.mtu}`);
  if (route.source !== undefined) words.push(`src ${formatIp(route.source)}`);
  return words.join(' ');
}
