import type { PayloadBase, Span } from '../../../plan/ruleset.ts';
import type { MessageWriter } from '../../netlink/message.ts';
import {
  NFT_PAYLOAD_CSUM_INET,
  NFT_PAYLOAD_L4CSUM_PSEUDOHDR,
  NFT_PAYLOAD_LL_HEADER,
  NFT_PAYLOAD_NETWORK_HEADER,
  NFT_PAYLOAD_TRANSPORT_HEADER,
  NFTA_PAYLOAD_BASE,
  NFTA_PAYLOAD_CSUM_FLAGS,
  NFTA_PAYLOAD_CSUM_OFFSET,
  NFTA_PAYLOAD_CSUM_TYPE,
  NFTA_PAYLOAD_DREG,
  NFTA_PAYLOAD_LEN,
  NFTA_PAYLOAD_OFFSET,
  NFTA_PAYLOAD_SREG,
} from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

const BASES = {
  link: NFT_PAYLOAD_LL_HEADER,
  network: NFT_PAYLOAD_NETWORK_HEADER,
  transport: NFT_PAYLOAD_TRANSPORT_HEADER,
} as const satisfies Record<PayloadBase, number>;

export function writePayload(writer: MessageWriter, payload: OfKind<'payload'>): void {
  writer.attrU32be(NFTA_PAYLOAD_DREG, registerNumber(payload.into));
  writeSpan(writer, payload);
}

export function writePayloadSet(writer: MessageWriter, payload: OfKind<'payload set'>): void {
  writer.attrU32be(NFTA_PAYLOAD_SREG, registerNumber(payload.from));
  writeSpan(writer, payload);
  writer.attrU32be(NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
  writer.attrU32be(NFTA_PAYLOAD_CSUM_OFFSET, payload.checksum);
  if (payload.pseudoHeader) writer.attrU32be(NFTA_PAYLOAD_CSUM_FLAGS, NFT_PAYLOAD_L4CSUM_PSEUDOHDR);
}

function writeSpan(writer: MessageWriter, span: Span): void {
  writer.attrU32be(NFTA_PAYLOAD_BASE, BASES[span.base]);
  writer.attrU32be(NFTA_PAYLOAD_OFFSET, span.offset).attrU32be(NFTA_PAYLOAD_LEN, span.length);
}
