import type { Operation } from '../plan/diff.ts';
import { type KernelObject, LOOPBACK } from '../plan/state.ts';
import type { Request } from './netlink/socket.ts';
import { deleteAddress, newAddress } from './route/address.ts';
import { isolatePort, newBridge, setMaster } from './route/bridge.ts';
import { deleteLink, raiseLink, setForwarding, setLink, setLinkUp } from './route/link.ts';
import { deleteFdbEntry, deleteNeighbour, newFdbEntry, newNeighbour } from './route/neighbour.ts';
import { deleteRoute, newRoute, replaceRoute } from './route/route.ts';
import { deleteShaper, setShaper } from './route/tbf.ts';

/** A step that is nothing but messages to the socket of one namespace. */
export type Step = { readonly namespace: string; readonly request: Request };

/** The messages that carry out an operation on an object already there, or on one that a message alone creates. */
export function steps({ verb, object }: Operation): Step[] {
  return requests(verb, object).map((request) => ({ namespace: object.namespace, request }));
}

function requests(verb: Operation['verb'], object: KernelObject): Request[] {
  const removing = verb === 'delete';
  switch (object.kind) {
    case 'namespace':
      return [];
    case 'loopback':
      return [setLinkUp(LOOPBACK, !removing)];
    case 'veth':
      if (removing) return [deleteLink(object.link)];
      return verb === 'create' ? raiseLink(object.link) : [setLink(object)];
    case 'tap':
      if (removing) return [deleteLink(object.link)];
      return [setLink(object, object.transmitQueue), ...(verb === 'create' ? raiseLink(object.link) : [])];
    case 'bridge':
      if (removing) return [deleteLink(object.link)];
      return verb === 'create' ? [newBridge(object), ...raiseLink(object.link)] : [setLink(object)];
    case 'port':
      return removing
        ? [setMaster(object.link, 0)]
        : [setMaster(object.link, object.bridge.index), isolatePort(object.link)];
    case 'fdb':
      return [removing ? deleteFdbEntry(object) : newFdbEntry(object)];
    case 'forwarding':
      return [setForwarding(object.link, !removing)];
    case 'address':
      return [removing ? deleteAddress(object) : newAddress(object)];
    case 'neighbour':
      return [removing ? deleteNeighbour(object) : newNeighbour(object)];
    case 'route':
      if (removing) return [deleteRoute(object)];
      return [verb === 'create' ? newRoute(object) : replaceRoute(object)];
    case 'shaper':
      return [removing ? deleteShaper(object) : setShaper(object)];
  }
}
