import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/*
 * `asker.ts SERVER`: asks a name server what it is told on stdin, a line of JSON each, and prints what came back in one
 * line: the answer in base64, and the address that it came from.
 */

export type Order =
  | { readonly by: 'udp' | 'tcp'; readonly message: string }
  /** by UDP, and so many times, whatever comes back */
  | { readonly by: 'flood'; readonly message: string; readonly count: number };

export type Heard = { readonly answer: string; readonly from: string } | { readonly nothing: string };

/** ms after which there is nothing to come; what comes mostly takes one */
const PATIENCE_MS = 10_000;

const [server = ''] = process.argv.slice(2);

function udp(message: Buffer): Promise<Heard> {
  const { promise, resolve } = Promise.withResolvers<Heard>();
  const socket = createSocket('udp4');
  const timer = setTimeout(() => resolve({ nothing: 'silence' }), PATIENCE_MS);
  socket.on('error', (error: NodeJS.ErrnoException) => resolve({ nothing: error.code ?? '' }));
  socket.on('message', (answer, { address }) => resolve({ answer: answer.toString('base64'), from: address }));
  // connected, it hears of a port that nobody listens at
  socket.connect(53, server, () => socket.send(message));
  return promise.finally(() => {
    clearTimeout(timer);
    socket.close();
  });
}

function tcp(message: Buffer): Promise<Heard> {
  const { promise, resolve } = Promise.withResolvers<Heard>();
  const socket = connect(53, server);
  let bytes = Buffer.alloc(0);
  const from = (): string => socket.remoteAddress ?? '';
  socket.setTimeout(PATIENCE_MS, () => resolve({ nothing: 'silence' }));
  socket.on('error', (error: NodeJS.ErrnoException) => resolve({ nothing: error.code ?? '' }));
  socket.on('close', () => resolve({ nothing: 'the end' }));
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length < 2 || bytes.length < 2 + bytes.readUInt16BE(0)) return;
    resolve({ answer: bytes.subarray(2).toString('base64'), from: from() });
  });
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  socket.write(Buffer.concat([length, message]));
  return promise.finally(() => socket.destroy());
}

async function flood(message: Buffer, count: number): Promise<Heard> {
  const socket = createSocket('udp4');
  for (let sent = 0; sent < count; sent++) {
    await new Promise<void>((resolve) => socket.send(message, 53, server, () => resolve()));
  }
  socket.close();
  return { nothing: 'the end' };
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as Order;
  const message = Buffer.from(order.message, 'base64');
  const heard = await (order.by === 'flood' ? flood(message, order.count) : { udp, tcp }[order.by](message));
  process.stdout.write(`${JSON.stringify(heard)}\n`);
}
