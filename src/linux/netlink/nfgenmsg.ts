import type { MessageWriter } from './message.ts';

/** Every message of nfnetlink begins with it: struct nfgenmsg in linux/netfilter/nfnetlink.h. */
export const NFGENMSG_LENGTH = 4;

/** @param resource what it is about where one socket has several, such as the group of a log */
export function writeNfgenmsg(writer: MessageWriter, family: number, resource = 0): void {
  writer
    .u8(family)
    .u8(0)
    .u8(resource >>> 8)
    .u8(resource & 255);
}
