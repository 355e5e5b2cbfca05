import { type DecodedPacket, decode, encode, type Packet, RECURSION_DESIRED, type RecordType } from 'dns-packet';

/** What the library tells of an answer, the parts too that its types leave out. */
export type Reply = DecodedPacket & { readonly rcode: string; readonly opcode: string };

export function queryFor(name: string, type: RecordType = 'A', rest: Partial<Packet> = {}): Buffer {
  return encode({ id: 4711, type: 'query', flags: RECURSION_DESIRED, questions: [{ name, type }], ...rest });
}

export function readReply(bytes: Buffer | undefined): Reply {
  if (bytes === undefined) throw new Error('There is no answer');
  const reply = decode(bytes) as Reply;
  if (decode.bytes !== bytes.length) throw new Error('The answer has more than it says');
  return reply;
}

/** The data of its answers, and nothing of how they are written. */
export function dataOf({ answers }: Reply): unknown[] {
  return (answers ?? []).map((answer) => ('data' in answer ? answer.data : undefined));
}

/** An option of EDNS(0). */
export function edns(udpPayloadSize: number, ednsVersion = 0, flags = 0): NonNullable<Packet['additionals']>[number] {
  return { type: 'OPT', name: '.', udpPayloadSize, extendedRcode: 0, ednsVersion, flags, flag_do: false, options: [] };
}
