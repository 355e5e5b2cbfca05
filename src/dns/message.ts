import { type Answer as AnswerRecord, AUTHORITATIVE_ANSWER, DNSSEC_OK, encode, TRUNCATED_RESPONSE } from 'dns-packet';
import { type Answer, CODES, type Found, ZONE } from './answer.ts';
import { LARGEST_DATAGRAM } from './limits.ts';
import type { Edns, Head, Query } from './query.ts';

/**
 * s for which an answer may be kept, that there is nothing too: when a sandbox is replaced, its name is the new one's in
 * the same instant, and who asks is never far.
 */
const TTL_S = 0;

const COUNT_OF_QUESTIONS = 4;
const HEADER = 12;

/**
 * The answer as it goes out. Where it is longer than `limit` it has as many records as fit and says that it is cut
 * (RFC 2181, 9).
 *
 * @param limit bytes, at least 512
 */
export function writeAnswer(query: Query, answer: Answer, limit: number): Buffer {
  const { found } = answer;
  const whole = write(query, answer, false);
  if (whole.length <= limit) return whole;
  const without = write(query, { ...answer, found: [] }, true);
  const each = (whole.length - without.length) / found.length;
  const count = Math.floor((limit - without.length) / each);
  return write(query, { ...answer, found: found.slice(0, count) }, true);
}

/** Of a message whose question is not known: its header alone. */
export function writeFault({ id, flags }: Head, code: 'FORMERR' | 'NOTIMP'): Buffer {
  return encode({ id, type: 'response', flags: flags | CODES[code] });
}

function write({ head, question, edns }: Query, { code, found, zone }: Answer, isCut: boolean): Buffer {
  const isOurs = found.length > 0 || zone !== undefined || isCut;
  const message = encode({
    id: head.id,
    type: 'response',
    flags: head.flags | (isOurs ? AUTHORITATIVE_ANSWER : 0) | (isCut ? TRUNCATED_RESPONSE : 0) | (CODES[code] & 0xf),
    answers: found.map(recordOf),
    authorities: zone === undefined ? [] : [startOf(zone)],
    additionals: edns === undefined ? [] : [optionOf(edns, CODES[code] >>> 4)],
  });
  // the question goes in between as it came: the library would write what it had made of it
  message.writeUInt16BE(1, COUNT_OF_QUESTIONS);
  return Buffer.concat([message.subarray(0, HEADER), question.bytes, message.subarray(HEADER)]);
}

function recordOf(found: Found): AnswerRecord {
  return found.type === 'SOA' ? startOf(found.name) : { ...found, ttl: TTL_S };
}

/** Nobody copies the zone: its numbers mean nothing but how long to keep that a name is not there. */
function startOf(name: string): AnswerRecord {
  const data = { mname: ZONE, rname: `hostmaster.${ZONE}`, serial: 1, refresh: 1, retry: 1, expire: 1, minimum: TTL_S };
  return { type: 'SOA', name, ttl: TTL_S, data };
}

function optionOf({ dnssecOk }: Edns, extendedRcode: number): AnswerRecord {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: LARGEST_DATAGRAM,
    extendedRcode,
    ednsVersion: 0,
    flags: dnssecOk ? DNSSEC_OK : 0,
    flag_do: dnssecOk,
    options: [],
  };
}
