import { flushCompileCache } from 'node:module';
import { createInterface } from 'node:readline';
import { Conversation } from './conversation.ts';
import { Datagrams } from './datagrams.ts';
import type { Kind, LoadOrder, Tasks, Work } from './protocol.ts';
import { Values } from './values.ts';

/*
 * `program.ts KIND TASK`: somebody in a sandbox who does one thing without an end. Prints a line when that can begin, and
 * does what it is told on stdin, a word each, answered by a line of JSON.
 */

const [kind, task = ''] = process.argv.slice(2);

function start(what: Kind, how: unknown): Promise<Work<Kind>> {
  switch (what) {
    case 'datagrams':
      return Datagrams.start(how as Tasks['datagrams']);
    case 'conversation':
      return Conversation.start(how as Tasks['conversation']);
    case 'values':
      return Values.start(how as Tasks['values']);
  }
}

const work = await start(kind as Kind, JSON.parse(task));
flushCompileCache();
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const order = line as LoadOrder;
  if (order === 'go') work.go();
  if (order === 'rest') await work.rest();
  process.stdout.write(`${JSON.stringify(work.report())}\n`);
}
process.exit();
