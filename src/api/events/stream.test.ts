import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryDaemon } from '../../../test/support/memory-daemon.ts';
import { RawConnection } from '../../../test/support/raw-http.ts';
import type { StreamedEvent } from '../client/client.ts';

let daemon: MemoryDaemon;
beforeEach(async () => {
  daemon = await MemoryDaemon.start({ config: { limits: { subscribers: 2 } }, timing: { heartbeatMs: 50 } });
});
afterEach(() => daemon[Symbol.asyncDispose]());

const REQUEST = 'GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n';

/** The next event, which must be one. */
async function next(events: AsyncGenerator<StreamedEvent, void>): Promise<Exclude<StreamedEvent, 'lost'>> {
  const { value } = await events.next();
  if (value === undefined || value === 'lost') throw new Error('Not an event');
  return value;
}

async function streamsAre(count: number): Promise<void> {
  while (!(await daemon.client.metrics()).includes(`culvert_event_streams ${count}\n`)) {
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}

describe('the event stream', () => {
  it('tells what happens as server-sent events, and that it is alive', async () => {
    using connection = new RawConnection(daemon.socketPath);
    const head = await connection.send(REQUEST).until(/retry: 1000/);
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(head).toMatch(/content-type: text\/event-stream\r\n/i);
    await connection.until(/: alive\n\n/);
    await daemon.client.create({ id: 'a1', topology: 'netns' });
    const text = await connection.until(/\ndata: .*\n\n/);
    expect(text).toMatch(/id: [0-9a-z]+-1\nevent: sandbox.created\ndata: \{"sequence":1,.*"sandboxId":"a1".*\}\n\n/);
  });

  it('goes on after an event that was seen', async () => {
    await daemon.client.create({ topology: 'netns', count: 1 });
    const stream = daemon.client.events();
    const first = next(stream);
    await streamsAre(1);
    await daemon.client.create({ topology: 'netns', count: 3 });
    const seen = await first;
    expect(seen.event.sequence).toBe(2);
    await stream.return();
    await streamsAre(0);

    const again = daemon.client.events({ after: seen.id });
    expect([(await next(again)).event.sequence, (await next(again)).event.sequence]).toEqual([3, 4]);
    await again.return();
  });

  it('says that events of an earlier daemon are lost', async () => {
    await daemon.client.create({ topology: 'netns' });
    const stream = daemon.client.events({ after: 'another-7' });
    expect((await stream.next()).value).toBe('lost');
    expect((await next(stream)).event.sequence).toBe(1);
    await stream.return();
  });

  it('is refused when there are as many as there may be, and free again when one ends', async () => {
    const giveUp = new AbortController();
    const streams = [daemon.client.events({ signal: giveUp.signal }), daemon.client.events({ signal: giveUp.signal })];
    const firsts = streams.map((stream) => stream.next());
    await streamsAre(2);
    await expect(daemon.client.events().next()).rejects.toMatchObject({ code: 'subscribers_exhausted' });
    giveUp.abort();
    for (const { done } of await Promise.all(firsts)) expect(done).toBe(true);
    await streamsAre(0);
  });

  it('ends in order when the daemon stops', async () => {
    const ended = daemon.client.events().next();
    await streamsAre(1);
    await daemon.close();
    expect(await ended).toEqual({ done: true, value: undefined });
  });

  it('is cut where its peer does not read, and costs the daemon nothing meanwhile', async () => {
    using connection = new RawConnection(daemon.socketPath);
    await connection.send(REQUEST).until(/retry: 1000/);
    connection.stall();
    const message = 'x'.repeat(10_000);
    for (let count = 0; count < 500; count += 1) daemon.engine.tell('test.noise', message);
    await streamsAre(0);
    expect((await connection.toTheEnd()).length).toBeLessThan(500 * message.length);
    expect(await daemon.client.list()).toEqual([]);
  });

  it('carries any text', async () => {
    const stream = daemon.client.events();
    const event = next(stream);
    await streamsAre(1);
    daemon.engine.tell('odd\ntype', 'line\nend, data: x\n\n, “quotes” and 🜁');
    expect((await event).event).toMatchObject({ type: 'odd\ntype', message: 'line\nend, data: x\n\n, “quotes” and 🜁' });
    await stream.return();
  });
});
