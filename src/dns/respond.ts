import type { Ipv4 } from '../addr/ipv4.ts';
import { type Answer, answerTo, type Code } from './answer.ts';
import { LARGEST_DATAGRAM, LARGEST_MESSAGE, PLAIN_DATAGRAM } from './limits.ts';
import { writeAnswer, writeFault } from './message.ts';
import type { Names } from './names.ts';
import { type Query, readQuery } from './query.ts';

export type Transport = 'udp' | 'tcp';

export type Response = { readonly code: Code; readonly bytes: Buffer };

/**
 * Message in, message out, whatever comes in.
 *
 * @returns undefined where there is nothing to say
 * @throws what `names` throws
 */
export function respond(message: Buffer, asker: Ipv4, transport: Transport, names: Names): Response | undefined {
  const query = readQuery(message);
  if (query === undefined) return undefined;
  if ('fault' in query) {
    const code = query.fault === 'malformed' ? 'FORMERR' : 'NOTIMP';
    return { code, bytes: writeFault(query.head, code) };
  }
  const answer: Answer =
    (query.edns?.version ?? 0) === 0 ? answerTo(query.question, asker, names) : { code: 'BADVERS', found: [] };
  return { code: answer.code, bytes: writeAnswer(query, answer, limitOf(query, transport)) };
}

function limitOf({ edns }: Query, transport: Transport): number {
  if (transport === 'tcp') return LARGEST_MESSAGE;
  return Math.max(PLAIN_DATAGRAM, Math.min(edns?.datagram ?? 0, LARGEST_DATAGRAM));
}
