import { formatIpv4 } from '../../addr/ipv4.ts';
import type { KernelObject } from '../../plan/state.ts';
import { NLM_F_CREATE, NLM_F_EXCL } from '../netlink/constants.ts';
import type { Request } from '../netlink/socket.ts';
import { AF_INET, IFA_ADDRESS, IFA_LOCAL, RT_SCOPE_UNIVERSE, RTM_DELADDR, RTM_NEWADDR } from './constants.ts';

type Address = Extract<KernelObject, { kind: 'address' }>;

export function newAddress(address: Address): Request {
  return { ...message('add', address), type: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL };
}

export function deleteAddress(address: Address): Request {
  return { ...message('delete', address), type: RTM_DELADDR, flags: 0 };
}

function message(verb: string, { address, length, link }: Address): Pick<Request, 'attempt' | 'write'> {
  return {
    attempt: `${verb} address ${formatIpv4(address)}/${length} on ${link.name}`,
    write(writer) {
      writer.u8(AF_INET).u8(length).u8(0).u8(RT_SCOPE_UNIVERSE).u32(link.index);
      writer.attrU32be(IFA_LOCAL, address).attrU32be(IFA_ADDRESS, address);
    },
  };
}
