import { type DecodedPacket, decode } from 'dns-packet';
import { MAX_QUERY, MAX_RECORDS } from './limits.ts';
import { type Question, readQuestion } from './question.ts';

/** What the header of an answer repeats of the query's. */
export type Head = {
  readonly id: number;
  /** opcode, RD (RFC 1035, 4.1.1) and CD (RFC 4035, 3.1.6), in their places */
  readonly flags: number;
};

/** What a query says of itself by EDNS(0), RFC 6891. */
export type Edns = {
  readonly version: number;
  /** bytes that the asker takes in one datagram */
  readonly datagram: number;
  readonly dnssecOk: boolean;
};

export type Query = { readonly head: Head; readonly question: Question; readonly edns: Edns | undefined };

/** One that is no question that could be answered, and what is said of it. */
export type Faulty = { readonly head: Head; readonly fault: 'malformed' | 'unsupported' };

const HEADER = 12;
const RESPONSE = 0x8000;
const OPCODE = 0x7800;
const REPEATED = OPCODE | 0x0100 | 0x0010;

/** @returns undefined for what nobody waits for an answer to: an answer, or no message at all */
export function readQuery(message: Buffer): Query | Faulty | undefined {
  if (message.length < HEADER || message.length > MAX_QUERY) return undefined;
  const flags = message.readUInt16BE(2);
  if ((flags & RESPONSE) !== 0) return undefined;
  const head = { id: message.readUInt16BE(0), flags: flags & REPEATED };
  // the rest of a message of another kind may be of any form
  if ((flags & OPCODE) !== 0) return { head, fault: 'unsupported' };
  const [questions = 0, ...records] = [4, 6, 8, 10].map((at) => message.readUInt16BE(at));
  const malformed = { head, fault: 'malformed' } as const;
  // before it is decoded: the decoder makes room for as many as the header says
  if (questions !== 1 || records.reduce((sum, count) => sum + count, 0) > MAX_RECORDS) return malformed;
  const question = readQuestion(message, HEADER);
  const packet = decodeWhole(message);
  if (question === undefined || packet === undefined) return malformed;
  const options = packet.additionals?.filter((record) => record.type === 'OPT') ?? [];
  const [option] = options;
  if (options.length > 1 || (option !== undefined && option.name !== '.')) return malformed;
  if (option === undefined) return { head, question, edns: undefined };
  const { ednsVersion: version, udpPayloadSize: datagram, flag_do: dnssecOk } = option;
  return { head, question, edns: { version, datagram, dnssecOk } };
}

/** @returns undefined where it breaks off, contradicts itself or does not end where it should */
function decodeWhole(message: Buffer): DecodedPacket | undefined {
  try {
    const packet = decode(message);
    return decode.bytes === message.length ? packet : undefined;
  } catch {
    // it throws whatever it stumbles over, errors of ranges among them
    return undefined;
  }
}
