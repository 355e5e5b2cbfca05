import type { IncomingMessage } from 'node:http';
import { InputError } from '../errors.ts';

/**
 * A request's whole body; undefined where it has none, or its sender went away. It is never held past `limit` bytes,
 * whether its length was announced or not.
 *
 * @throws InputError `body_too_big`; the rest of the body is still to come then
 */
export async function readBody(incoming: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  const { 'content-length': announced, 'transfer-encoding': encoding } = incoming.headers;
  if (encoding === undefined && (announced === undefined || announced === '0')) return undefined;
  if (Number(announced) > limit) throw tooBig(limit);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>();
  const chunks: Buffer[] = [];
  let length = 0;
  const onData = (chunk: Buffer): void => {
    length += chunk.length;
    if (length > limit) reject(tooBig(limit));
    else chunks.push(chunk);
  };
  const onEnd = (): void => resolve(Buffer.concat(chunks));
  const onGone = (): void => resolve(undefined);
  incoming.on('data', onData).once('end', onEnd).once('error', onGone).once('close', onGone);
  try {
    return await promise;
  } finally {
    incoming.off('data', onData).off('end', onEnd).off('close', onGone);
  }
}

function tooBig(limit: number): InputError {
  return new InputError('body_too_big', `Cannot take a body of more than ${limit} bytes`);
}
