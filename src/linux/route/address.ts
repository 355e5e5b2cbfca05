import { formatIpPrefix } from '../../addr/ip-prefix.ts';
import type { KernelObject } from '../../plan/state.ts';
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from '../netlink/constants.ts';
import type { Request } from '../netlink/socket.ts';
import { IFA_ADDRESS, IFA_F_NODAD, IFA_LOCAL, RT_SCOPE_UNIVERSE, RTM_DELADDR, RTM_NEWADDR } from './constants.ts';
import { familyOf, writeIp } from './family.ts';

type Address = Extract<KernelObject, { kind: 'address' }>;

export function newAddress(address: Address): Request {
  return { ...message('add', address), type: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL };
}

export function replaceAddress(address: Address): Request {
  return { ...message('replace', address), type: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_REPLACE };
}

export function deleteAddress(address: Address): Request {
  return { ...message('delete', address), type: RTM_DELADDR, flags: 0 };
}

function message(verb: string, address: Address): Pick<Request, 'attempt' | 'write'> {
  const { length, link, nodad } = address;
  return {
    attempt: `${verb} address ${formatIpPrefix(address)} on ${link.name}`,
    write(writer) {
      writer.u8(familyOf(address.address)).u8(length);
      writer
        .u8(nodad === true ? IFA_F_NODAD : 0)
        .u8(RT_SCOPE_UNIVERSE)
        .u32(link.index);
      writeIp(writer, IFA_LOCAL, address.address);
      writeIp(writer, IFA_ADDRESS, address.address);
    },
  };
}
