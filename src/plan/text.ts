import { formatIpv4 } from '../addr/ipv4.ts';
import { formatMac } from '../addr/mac.ts';
import { formatPrefix } from '../addr/prefix.ts';
import type { Operation, Plan } from './diff.ts';
import { type KernelObject, type LinkEnd, ROOT } from './state.ts';

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
      return `ip ${where}rule ${verb} ${ruleText(object)}`;
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
      return `ip ${where}address ${verb} ${formatIpv4(object.address)}/${object.length} dev ${object.link.name}`;
    case 'neighbour':
      return `ip ${where}neighbour ${verb} ${formatIpv4(object.address)} lladdr ${formatMac(object.mac)} dev ${object.link.name} nud permanent`;
    case 'route':
      return `ip ${where}route ${verb} ${routeText(object)}`;
  }
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

function ruleText({ priority, iif, from, to, table }: Extract<KernelObject, { kind: 'rule' }>): string {
  const words = [`priority ${priority}`];
  if (from !== undefined) words.push(`from ${formatPrefix(from)}`);
  if (to !== undefined) words.push(`to ${formatPrefix(to)}`);
  words.push(`iif ${iif}`, table === undefined ? 'blackhole' : `lookup ${table}`);
  return words.join(' ');
}

function routeText(route: Extract<KernelObject, { kind: 'route' }>): string {
  const words = [route.destination.length === 0 ? 'default' : formatPrefix(route.destination)];
  if (route.via !== undefined) words.push(`via ${formatIpv4(route.via)}`);
  words.push(`dev ${route.link.name}`);
  if (route.onlink === true) words.push('onlink');
  if (route.table !== undefined) words.push(`table ${route.table}`);
  if (route.mtu !== undefined) words.push(`mtu ${route.mtu}`);
  if (route.source !== undefined) words.push(`src ${formatIpv4(route.source)}`);
  return words.join(' ');
}
