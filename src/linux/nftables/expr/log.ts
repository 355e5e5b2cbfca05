import type { MessageWriter } from '../../netlink/message.ts';
import { NFTA_LOG_GROUP, NFTA_LOG_PREFIX, NFTA_LOG_SNAPLEN } from './constants.ts';
import type { OfKind } from './of-kind.ts';

export function writeLog(writer: MessageWriter, { group, prefix, snaplen }: OfKind<'log'>): void {
  writer.attrU16be(NFTA_LOG_GROUP, group).attrString(NFTA_LOG_PREFIX, prefix).attrU32be(NFTA_LOG_SNAPLEN, snaplen);
}
