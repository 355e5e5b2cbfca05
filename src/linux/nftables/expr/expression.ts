import type { Expression } from '../../../plan/ruleset.ts';
import { NLA_F_NESTED } from '../../netlink/constants.ts';
import type { MessageWriter } from '../../netlink/message.ts';
import { NFTA_EXPR_DATA, NFTA_EXPR_NAME } from '../constants.ts';
import { writeBitwise } from './bitwise.ts';
import { writeByteorder } from './byteorder.ts';
import { writeCmp } from './cmp.ts';
import { writeCt, writeCtSet } from './ct.ts';
import { writeFlowsPerKey, writeLimitPerKey } from './dynset.ts';
import { writeTcpOptionSet } from './exthdr.ts';
import { writeFib } from './fib.ts';
import { writeImmediate } from './immediate.ts';
import { writeLimit } from './limit.ts';
import { writeLog } from './log.ts';
import { writeLookup } from './lookup.ts';
import { writeMeta, writeMetaSet } from './meta.ts';
import { writePayload, writePayloadSet } from './payload.ts';
import { writeReject } from './reject.ts';
import { writeRt } from './rt.ts';

/** The kernel's names: `.name` of each struct nft_expr_type. */
const NAMES = {
  meta: 'meta',
  'meta set': 'meta',
  payload: 'payload',
  'payload set': 'payload',
  cmp: 'cmp',
  bitwise: 'bitwise',
  byteorder: 'byteorder',
  lookup: 'lookup',
  verdict: 'immediate',
  ct: 'ct',
  'ct set': 'ct',
  counter: 'counter',
  limit: 'limit',
  'limit per key': 'dynset',
  'flows per key': 'dynset',
  log: 'log',
  masquerade: 'masq',
  reject: 'reject',
  notrack: 'notrack',
  rt: 'rt',
  'tcp option set': 'exthdr',
  fib: 'fib',
} as const satisfies Record<Expression['kind'], string>;

/** Writes NFTA_EXPR_NAME and NFTA_EXPR_DATA. */
export function writeExpression(writer: MessageWriter, expression: Expression): void {
  writer.attrString(NFTA_EXPR_NAME, NAMES[expression.kind]);
  writer.nest(NFTA_EXPR_DATA | NLA_F_NESTED, (data) => writeData(data, expression));
}

function writeData(writer: MessageWriter, expression: Expression): void {
  switch (expression.kind) {
    case 'meta':
      return writeMeta(writer, expression);
    case 'meta set':
      return writeMetaSet(writer, expression);
    case 'payload':
      return writePayload(writer, expression);
    case 'payload set':
      return writePayloadSet(writer, expression);
    case 'cmp':
      return writeCmp(writer, expression);
    case 'bitwise':
      return writeBitwise(writer, expression);
    case 'byteorder':
      return writeByteorder(writer, expression);
    case 'lookup':
      return writeLookup(writer, expression);
    case 'verdict':
      return writeImmediate(writer, expression);
    case 'ct':
      return writeCt(writer, expression);
    case 'ct set':
      return writeCtSet(writer, expression);
    case 'limit':
      return writeLimit(writer, expression);
    case 'limit per key':
      return writeLimitPerKey(writer, expression);
    case 'flows per key':
      return writeFlowsPerKey(writer, expression);
    case 'log':
      return writeLog(writer, expression);
    case 'reject':
      return writeReject(writer, expression);
    case 'rt':
      return writeRt(writer, expression);
    case 'tcp option set':
      return writeTcpOptionSet(writer, expression);
    case 'fib':
      return writeFib(writer, expression);
    // without attributes a counter starts at zero, masquerade takes any port, and notrack has none
    case 'counter':
    case 'notrack':
    case 'masquerade':
      return;
  }
}
