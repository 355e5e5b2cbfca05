import type { Ipv4 } from '../../addr/ipv4.ts';
import { readAttributes, readU16be, readU32be } from '../netlink/attribute.ts';
import { NFGENMSG_LENGTH } from '../netlink/nfgenmsg.ts';
import {
  CTA_ID,
  CTA_IP_V4_DST,
  CTA_IP_V4_SRC,
  CTA_PROTO_DST_PORT,
  CTA_PROTO_NUM,
  CTA_PROTO_SRC_PORT,
  CTA_TUPLE_IP,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_PROTO,
  CTA_TUPLE_REPLY,
  CTA_TUPLE_ZONE,
  CTA_ZONE,
} from './constants.ts';

/** What the packets of one direction look like. */
export type Tuple = {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  /** undefined where the protocol has no ports, such as ICMP */
  readonly sourcePort: number | undefined;
  readonly destinationPort: number | undefined;
  /** undefined where the zone, or its absence, holds for both directions */
  readonly zone: number | undefined;
};

/** A tracked flow. Where an address is translated, `reply` is not `original` turned round. */
export type Flow = {
  /** Tells a flow from a later one with the same tuples; unsigned 32 bits. */
  readonly id: number;
  /** an IP protocol number, such as 6 for TCP */
  readonly protocol: number;
  /** of both directions; undefined in the default zone */
  readonly zone: number | undefined;
  readonly original: Tuple;
  readonly reply: Tuple;
  /** CTA_TUPLE_ORIG as the kernel wrote it: what it finds the flow by, whatever the protocol. */
  readonly key: Uint8Array;
};

/**
 * Reads a message of a dump of connection tracking.
 *
 * @param body what follows struct nlmsghdr; nothing of the result views it
 * @throws RangeError where it is not such a message, or not about IPv4
 */
export function readFlow(body: Uint8Array): Flow {
  const attributes = readAttributes(body, NFGENMSG_LENGTH);
  const key = wanted(attributes.get(CTA_TUPLE_ORIG), 'CTA_TUPLE_ORIG').slice();
  const zone = attributes.get(CTA_ZONE);
  const { protocol, tuple: original } = readTuple(key);
  const { tuple: reply } = readTuple(wanted(attributes.get(CTA_TUPLE_REPLY), 'CTA_TUPLE_REPLY'));
  const id = readU32be(wanted(attributes.get(CTA_ID), 'CTA_ID'));
  return { id, protocol, zone: zone && readU16be(zone), original, reply, key };
}

function readTuple(bytes: Uint8Array): { readonly protocol: number; readonly tuple: Tuple } {
  const attributes = readAttributes(bytes);
  const addresses = readAttributes(wanted(attributes.get(CTA_TUPLE_IP), 'CTA_TUPLE_IP'));
  const protocol = readAttributes(wanted(attributes.get(CTA_TUPLE_PROTO), 'CTA_TUPLE_PROTO'));
  const zone = attributes.get(CTA_TUPLE_ZONE);
  const sourcePort = protocol.get(CTA_PROTO_SRC_PORT);
  const destinationPort = protocol.get(CTA_PROTO_DST_PORT);
  const tuple = {
    source: readU32be(wanted(addresses.get(CTA_IP_V4_SRC), 'CTA_IP_V4_SRC')) as Ipv4,
    destination: readU32be(wanted(addresses.get(CTA_IP_V4_DST), 'CTA_IP_V4_DST')) as Ipv4,
    sourcePort: sourcePort && readU16be(sourcePort),
    destinationPort: destinationPort && readU16be(destinationPort),
    zone: zone && readU16be(zone),
  };
  const number = wanted(protocol.get(CTA_PROTO_NUM), 'CTA_PROTO_NUM')[0];
  if (number === undefined) throw new RangeError('Cannot read a tracked flow: CTA_PROTO_NUM is empty');
  return { protocol: number, tuple };
}

function wanted(value: Uint8Array | undefined, name: string): Uint8Array {
  if (value === undefined) throw new RangeError(`Cannot read a tracked flow: it has no ${name}`);
  return value;
}
