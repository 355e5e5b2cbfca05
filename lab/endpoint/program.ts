import { createSocket, type Socket } from 'node:dgram';
import { flushCompileCache } from 'node:module';
import { createInterface } from 'node:readline';
import { type AskResult, type Datagram, ECHO_PORT, type Echo, type Order } from './protocol.ts';
import { RECEIVE_BYTES, Stream } from './stream.ts';

/*
 * `program.ts NAME`: somebody inside a namespace. Answers every datagram at the echo port of every address it has, and
 * does what it is told on stdin, a line of JSON each, answered by one. Prints a line when it listens.
 */

/** Datagrams kept to be told of. */
const MAX_KEPT = 10_000;

const [name = ''] = process.argv.slice(2);
const received: Datagram[] = [];
let stream: Stream | undefined;

function listen(port: number, keep: boolean): Promise<void> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BYTES });
  socket.on('message', (message, { address, port: fromPort }) => {
    const text = message.toString();
    if (keep && received.length < MAX_KEPT) received.push({ from: address, text });
    const echo: Echo = { by: name, saw: `${address}:${fromPort}`, text };
    socket.send(JSON.stringify(echo), fromPort, address);
  });
  return bind(socket, '0.0.0.0', port);
}

function bind(socket: Socket, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}

async function ask({ to, port, from, text, count, waitMs }: Extract<Order, { do: 'ask' }>): Promise<AskResult> {
  const socket = createSocket('udp4');
  const echoes: Echo[] = [];
  const refused: string[] = [];
  const { promise: answered, resolve } = Promise.withResolvers<void>();
  socket.on('message', (message) => {
    if (echoes.push(JSON.parse(message.toString()) as Echo) === count) resolve();
  });
  await bind(socket, from ?? '0.0.0.0', 0);
  // An ICMP error that came back for an earlier one is told at the next.
  socket.on('error', (error: NodeJS.ErrnoException) => refused.push(String(error.code)));
  for (let number = 1; number <= count; number++) {
    await new Promise<void>((next) =>
      socket.send(`${text} ${number}`, port, to, (error: NodeJS.ErrnoException | null) => {
        if (error !== null) refused.push(String(error.code));
        next();
      }),
    );
  }
  const timer = setTimeout(resolve, waitMs);
  await answered;
  clearTimeout(timer);
  socket.close();
  return { sent: count, echoes, refused };
}

async function carryOut(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'ask':
      return ask(order);
    case 'listen':
      await listen(order.port, false);
      return true;
    case 'received':
      // What had arrived when this was asked is read before it is answered: a turn looks at every socket.
      await new Promise((resolve) => void setImmediate(resolve));
      return received.splice(0);
    case 'stream':
      stream = new Stream(order);
      return true;
    case 'stop':
      return stream?.stop();
    case 'claim':
      // Only this needs system calls of our own; most never do it.
      (await import('./claim.ts')).claim(order);
      return true;
  }
}

await listen(ECHO_PORT, true);
// It is killed at its end, and those that start after it start faster.
flushCompileCache();
process.stdout.write('listening\n');
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await carryOut(JSON.parse(line) as Order))}\n`);
}
process.exit();
