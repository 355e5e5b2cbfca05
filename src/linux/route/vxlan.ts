import type { KernelObject } from '../../plan/state.ts';
import { type Attributes, readU32 } from '../netlink/attribute.ts';
import type { Request } from '../netlink/socket.ts';
import {
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_NET_NS_FD,
  IFLA_VXLAN_DF,
  IFLA_VXLAN_ID,
  IFLA_VXLAN_LEARNING,
  IFLA_VXLAN_PORT,
  IFLA_VXLAN_UDP_CSUM,
  VXLAN_DF_SET,
} from './constants.ts';
import { CREATE_LINK, writeLinkEnd, writeLinkHeader } from './link.ts';

type Vxlan = Extract<KernelObject, { kind: 'vxlan' }>;

/**
 * linux/if_link.h since 6.5; an older kernel passes over it. What is for this machine itself goes by the loopback and
 * the rules of its input, as everything else does, and not straight into the link that it is for.
 */
const IFLA_VXLAN_LOCALBYPASS = 31;

/**
 * Down, and born in the namespace behind `namespace` (a descriptor): its UDP packets come and go in the namespace of the
 * socket that this is sent to, wherever the link is.
 *
 * Their checksum is on: it costs nothing that shows (docs/mesh.md), and nothing else would cover the header that
 * says whose frame it is.
 */
export function newVxlan(vxlan: Vxlan, namespace: number): Request {
  return {
    ...CREATE_LINK,
    attempt: `add VXLAN ${vxlan.link.name}`,
    write(writer) {
      writeLinkHeader(writer, vxlan.link.index, 0, 0);
      writeLinkEnd(writer, vxlan);
      writer.attrU32(IFLA_NET_NS_FD, namespace);
      writer.nest(IFLA_LINKINFO, (info) =>
        info.attrString(IFLA_INFO_KIND, 'vxlan').nest(IFLA_INFO_DATA, (data) => {
          data.attrU32(IFLA_VXLAN_ID, vxlan.vni).attrU16be(IFLA_VXLAN_PORT, vxlan.port);
          data.attrU8(IFLA_VXLAN_LEARNING, 0).attrU8(IFLA_VXLAN_DF, VXLAN_DF_SET).attrU8(IFLA_VXLAN_UDP_CSUM, 1);
          data.attrU8(IFLA_VXLAN_LOCALBYPASS, 0);
        }),
      );
    },
  };
}

/** What {@link newVxlan} says of a VXLAN beside its end; undefined where it is otherwise in what is not said there. */
export function readVxlan(data: Attributes): Pick<Vxlan, 'vni' | 'port'> | undefined {
  const byte = (type: number): number | undefined => data.get(type)?.[0];
  const vni = data.get(IFLA_VXLAN_ID);
  const port = data.get(IFLA_VXLAN_PORT);
  const isStatic = byte(IFLA_VXLAN_LEARNING) === 0 && byte(IFLA_VXLAN_DF) === VXLAN_DF_SET;
  if (vni === undefined || port === undefined || !isStatic || byte(IFLA_VXLAN_UDP_CSUM) !== 1) return undefined;
  return { vni: readU32(vni), port: ((port[0] ?? 0) << 8) | (port[1] ?? 0) };
}
