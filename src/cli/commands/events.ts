import { styleText } from 'node:util';
import type { Command } from 'commander';
import type { EventResource } from '../../api/client/client.ts';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { print } from '../output.ts';

type Options = Common & { readonly after?: string; readonly type?: string };

export function addEvents(program: Command): void {
  addClientCommand(program, {
    usage: 'events',
    summary: 'Follow what happens, until the daemon stops',
    details:
      'Each line begins with the event’s id. With --json it is an object { id, event }, or { lost: true } where events before it are lost.',
    examples: [
      ['culvert events', 'from now on'],
      ['culvert events --type sandbox.', 'only types that begin so'],
      ['culvert events --json --after m1abc-17', 'go on after the event with this id'],
    ],
  })
    .option('--after <id>', 'go on after this event')
    .option('--type <prefix>', 'only types that begin so')
    .action(follow);
}

async function follow({ json, after, type = '', ...options }: Options): Promise<void> {
  using client = clientOf(options);
  const giveUp = new AbortController();
  const stop = (): void => giveUp.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  for await (const streamed of client.events({ signal: giveUp.signal, ...(after !== undefined && { after }) })) {
    if (streamed === 'lost') print(json ? '{"lost":true}' : 'Events before the next one are lost');
    else if (streamed.event.type.startsWith(type))
      print(json ? JSON.stringify(streamed) : eventText(streamed.id, streamed.event));
  }
}

function eventText(id: string, { wallMs, type, message }: EventResource): string {
  return `${id}  ${new Date(wallMs).toISOString()}  ${styleText('bold', type, { stream: process.stdout })}  ${message}`;
}
