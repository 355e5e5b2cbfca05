import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseIpv4 } from '../addr/ipv4.ts';
// oxlint-disable-next-line no-restricted-imports -- opens what the kernel thread hands over
import { openService } from '../linux/inet/service.ts';
import { Connection } from './connection.ts';
import { ASKS, MAX_CONNECTIONS_OF_ASKER } from './limits.ts';
import { Responder } from './responder.ts';
import { dataOf, queryFor, readReply } from './testing/ask.ts';
import { namesOf } from './testing/team.ts';

/* On the loopback, where each address of 127.0.0.0/8 is an asker of its own. */

const SERVER = '127.53.0.1';
const WEB = '127.53.1.1';
const DB = '127.53.1.2';
const names = namesOf({ team: { web: [WEB], db: [DB], many: Array.from({ length: 60 }, (_, i) => `10.0.0.${i}`) } });
const QUERY = queryFor('db.team.culvert');

let responder: Responder;

beforeEach(() => {
  responder = new Responder(names, openService(parseIpv4(SERVER), 53));
});
afterEach(() => responder.close());

/** The answer to one question by UDP. */
async function ask(message: Buffer, from = WEB): Promise<{ readonly bytes: Buffer; readonly by: string }> {
  const socket = createSocket('udp4');
  try {
    await new Promise<void>((resolve) => void socket.bind(0, from, resolve));
    socket.send(message, 53, SERVER);
    const [bytes, { address, port }] = (await once(socket, 'message')) as [Buffer, { address: string; port: number }];
    return { bytes, by: `${address}:${port}` };
  } finally {
    socket.close();
  }
}

function framed(...messages: readonly Buffer[]): Buffer {
  return Buffer.concat(
    messages.flatMap((message) => [Buffer.from([message.length >>> 8, message.length & 255]), message]),
  );
}

async function connected(from = WEB): Promise<Socket> {
  const socket = connect({ host: SERVER, port: 53, localAddress: from });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** Resolves when it has ended, be it by a reset. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once('close', () => resolve()));
}

/** The messages that come until the connection ends. */
async function untilEnd(socket: Socket): Promise<Buffer[]> {
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
  });
  await closed(socket);
  const messages: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 2 + bytes.readUInt16BE(at);
    messages.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return messages;
}

describe('by UDP', () => {
  it('is answered from the address that was asked', async () => {
    const { bytes, by } = await ask(QUERY);
    expect(dataOf(readReply(bytes))).toEqual([DB]);
    expect(by).toBe(`${SERVER}:53`);
    expect(responder.counts).toEqual({ answered: 1, refused: 0, dropped: 0 });
  });

  it('is answered as to who asks', async () => {
    expect(readReply((await ask(QUERY, '127.53.1.9')).bytes).rcode).toBe('NXDOMAIN');
  });

  it('goes on with others when one asks too often', async () => {
    const flood = createSocket('udp4');
    await new Promise<void>((resolve) => void flood.bind(0, WEB, resolve));
    for (let count = 0; count < ASKS.burst + 500 || responder.counts.dropped === 0; count++) {
      flood.send(QUERY, 53, SERVER);
      // as much at a time as a socket holds
      if (count % 25 === 0) await new Promise((resolve) => void setImmediate(resolve));
    }
    expect(dataOf(readReply((await ask(QUERY, DB)).bytes))).toEqual([DB]);
    await expect.poll(() => responder.counts.dropped).toBeGreaterThan(0);
    flood.close();
  });

  it('counts what was refused and what is no question', async () => {
    await ask(queryFor('example.org'));
    await ask(QUERY.subarray(0, -1));
    const socket = createSocket('udp4');
    socket.send(Buffer.from('x'), 53, SERVER);
    await expect.poll(() => responder.counts).toEqual({ answered: 0, refused: 2, dropped: 1 });
    socket.close();
  });
});

describe('by TCP', () => {
  it('is answered with what did not fit into a datagram', async () => {
    const query = queryFor('many.team.culvert');
    expect(readReply((await ask(query)).bytes).flag_tc).toBe(true);
    const socket = await connected();
    socket.end(framed(query));
    const [answer] = await untilEnd(socket);
    expect(dataOf(readReply(answer))).toHaveLength(60);
  });

  it('is answered in order, however the questions are cut', async () => {
    const socket = await connected();
    const ids = Array.from({ length: 30 }, (_, index) => index);
    const bytes = framed(...ids.map((id) => queryFor('db.team.culvert', 'A', { id })));
    socket.setNoDelay(true);
    for (let at = 0; at < bytes.length; at += 11) {
      socket.write(bytes.subarray(at, at + 11));
      if (at % 55 === 0) await new Promise((resolve) => void setImmediate(resolve));
    }
    socket.end();
    expect((await untilEnd(socket)).map((message) => readReply(message).id)).toEqual(ids);
  });

  it.each([
    ['more than a question has', Buffer.from([0xff, 0xff, 1, 2, 3])],
    ['what is no question', framed(Buffer.from('hello'))],
    ['an answer', framed(Buffer.from(QUERY).fill(0x80, 2, 3))],
  ])('ends with %s', async (_, bytes) => {
    const socket = await connected();
    socket.write(Buffer.concat([framed(QUERY), bytes]));
    expect(await untilEnd(socket)).toHaveLength(1);
  });

  it('ends where one asks too often, and goes on with others', async () => {
    const socket = await connected();
    socket.write(framed(...Array.from({ length: ASKS.burst + 500 }, () => QUERY)));
    await untilEnd(socket);
    const other = await connected(DB);
    other.end(framed(QUERY));
    expect(await untilEnd(other)).toHaveLength(1);
  });

  it('has some connections of each asker and no more', async () => {
    const open = await Promise.all(Array.from({ length: MAX_CONNECTIONS_OF_ASKER }, () => connected()));
    const late = await connected();
    await closed(late);
    const other = await connected(DB);
    other.end(framed(QUERY));
    expect(await untilEnd(other)).toHaveLength(1);
    const [first] = open;
    first?.end();
    if (first !== undefined) await untilEnd(first);
    const next = await connected();
    next.end(framed(QUERY));
    expect(await untilEnd(next)).toHaveLength(1);
    for (const socket of open) socket.destroy();
  });

  it('ends the connections that are open when it closes', async () => {
    const socket = await connected();
    socket.write(framed(QUERY));
    await once(socket, 'data');
    const end = closed(socket);
    await responder.close();
    await end;
    // and others may have the address and port now, although the connection has just ended
    responder = new Responder(names, openService(parseIpv4(SERVER), 53));
    expect(dataOf(readReply((await ask(QUERY)).bytes))).toEqual([DB]);
  });
});

describe('a connection', () => {
  it('ends when it has brought no whole question for a while, though it brings something', async () => {
    const server = createServer((socket) => void new Connection(socket, () => Buffer.from('answer'), 200));
    await new Promise<void>((resolve) => void server.listen(0, '127.53.2.1', resolve));
    const address = server.address();
    const socket = connect({ host: '127.53.2.1', port: typeof address === 'object' ? (address?.port ?? 0) : 0 });
    socket.on('error', () => undefined);
    const drip = setInterval(() => socket.write(Buffer.from([1])), 20);
    await closed(socket);
    clearInterval(drip);
    server.close();
  });

  it('ends when too much of what it is told is not read', async () => {
    let told = 0;
    const answer = (): Buffer => {
      told += 1;
      return Buffer.alloc(60_000);
    };
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const server = createServer((served) => {
      void new Connection(served, answer);
      served.once('close', () => resolve());
    });
    await new Promise<void>((listening) => void server.listen(0, '127.53.2.2', listening));
    const address = server.address();
    const socket = connect({ host: '127.53.2.2', port: typeof address === 'object' ? (address?.port ?? 0) : 0 });
    socket.on('error', () => undefined).pause();
    socket.write(framed(...Array.from({ length: 2000 }, () => QUERY)));
    await ended;
    socket.destroy();
    expect(told).toBeLessThan(2000);
    server.close();
  });
});

describe('names that fail', () => {
  it('end nothing, and are told of until they do not', async () => {
    await responder.close();
    let isBroken = true;
    const broken = {
      ...names,
      groupOf: (asker: Parameters<typeof names.groupOf>[0]) => {
        if (isBroken) throw new Error('the names are broken');
        return names.groupOf(asker);
      },
    };
    responder = new Responder(broken, openService(parseIpv4(SERVER), 53));
    const socket = createSocket('udp4');
    socket.send(QUERY, 53, SERVER);
    await expect.poll(() => responder.failure).toBe('the names are broken');
    expect(responder.counts.dropped).toBe(1);
    isBroken = false;
    await ask(QUERY);
    expect(responder.failure).toBeUndefined();
    socket.close();
  });
});
