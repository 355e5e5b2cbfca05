import type { Operation } from '../plan/diff.ts';
import { type KernelObject, type LinkEnd, LOOPBACK } from '../plan/state.ts';
import type { Request } from './netlink/socket.ts';
import { deleteAddress, newAddress, replaceAddress } from './route/address.ts';
import { isolatePort, newBridge, setMaster } from './route/bridge.ts';
import { deleteLink, getLink, raiseLink, setForwarding, setLink, setLinkUp } from './route/link.ts';
import { deleteFdbEntry, deleteNeighbour, newFdbEntry, newNeighbour } from './route/neighbour.ts';
import { deleteRoute, newRoute, replaceRoute } from './route/route.ts';
import { deletePolicyRule, newPolicyRule } from './route/rule.ts';
import { deleteShaper, setShaper } from './route/tbf.ts';

/** A step that is nothing but messages to the socket of one namespace. */
export type Step = { readonly namespace: string; readonly request: Request };

/** The messages that carry out an operation on an object already there, or on one that a message alone creates. */
export function steps(operation: Operation): Step[] {
  const { namespace } = operation.object;
  return requests(operation).map((request) => ({ namespace, request }));
}

/** From a state of the same link to `end`. */
function changeLink(end: LinkEnd, from: LinkEnd): Request[] {
  return [setLink(end, from), setLinkUp(end.link, end.up)];
}

function requests(operation: Operation): Request[] {
  const { verb, object } = operation;
  const removing = verb === 'delete';
  switch (object.kind) {
    case 'namespace':
    case 'sysctl':
    case 'guard':
      return [];
    case 'loopback':
      return [setLinkUp(LOOPBACK, !removing)];
    case 'veth':
    case 'tap':
    case 'bridge':
    case 'vxlan':
      if (removing) return [deleteLink(object.link)];
      if (verb === 'create') return [...createdLink(object), ...raiseLink(object.link)];
      return isLink(operation.from) ? changeLink(object, operation.from) : [];
    case 'port':
      return removing
        ? [setMaster(object.link, 0)]
        : [setMaster(object.link, object.bridge.index), isolatePort(object.link)];
    case 'fdb':
      return [removing ? deleteFdbEntry(object) : newFdbEntry(object)];
    case 'forwarding':
      return [setForwarding(object.link, !removing)];
    case 'address':
      if (removing) return [deleteAddress(object)];
      return [verb === 'create' ? newAddress(object) : replaceAddress(object)];
    case 'neighbour':
      return [removing ? deleteNeighbour(object) : newNeighbour(object)];
    case 'route':
      if (removing) return [deleteRoute(object)];
      return [verb === 'create' ? newRoute(object) : replaceRoute(object)];
    case 'rule':
      return [removing ? deletePolicyRule(object) : newPolicyRule(object)];
    case 'shaper':
      return [removing ? deleteShaper(object) : setShaper(object)];
  }
}

type LinkObject = Extract<KernelObject, { kind: 'veth' | 'tap' | 'bridge' | 'vxlan' }>;

function isLink(object: KernelObject): object is LinkObject {
  return ['veth', 'tap', 'bridge', 'vxlan'].includes(object.kind);
}

/** What makes a link what it should be, as far as that takes no descriptor. */
function createdLink(object: LinkObject): Request[] {
  switch (object.kind) {
    // what is born in another namespace takes a descriptor
    case 'veth':
    case 'vxlan':
      return [];
    case 'tap':
      // Closing its descriptor left an event with the kernel's link watcher, which takes a hundred a second and walks
      // all that wait whenever a pair goes up. To read the link finishes its event now (docs/measurements.md).
      return [getLink(object.link), setLink(object)];
    case 'bridge':
      // Only a size that is set later is the bridge's own; one given at its creation follows its smallest port.
      return [newBridge(object.link), setLink(object)];
  }
}
