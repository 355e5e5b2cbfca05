import { createInterface } from 'node:readline';
import { Connection, jsonRequest } from './connection.ts';

/*
 * A load of its own process, so that who measures latencies does not wait for itself: `burst.ts SOCKET`. For each line
 * "create N" it sends N requests for one microvm each, 64 at a time, and prints the ms that all of them took.
 */

const AT_A_TIME = 64;

const [socketPath = ''] = process.argv.slice(2);
const request = jsonRequest('POST', '/v1/sandboxes', { topology: 'microvm' });

async function burst(count: number): Promise<number> {
  let left = count;
  const begin = performance.now();
  const worker = async (): Promise<void> => {
    using connection = await Connection.open(socketPath);
    for (; left > 0; ) {
      left--;
      await connection.ask(request);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return performance.now() - begin;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [, count] = /^create (\d+)$/.exec(line) ?? [];
  if (count === undefined) throw new TypeError(`Unknown command ${line}`);
  process.stdout.write(`${await burst(Number(count))}\n`);
}
