import { CulvertError } from '../../errors.ts';
import type { EventResource } from '../schema.ts';

/** An event with the id to go on after; `lost` where events before the next one are no longer kept. */
export type StreamedEvent = { readonly id: string; readonly event: EventResource } | 'lost';

/** characters: what one event may have */
const MAX_BLOCK_CHARS = 4 * 1024 * 1024;

/**
 * Reads server-sent events as Culvert writes them: fields that end in a line feed, an empty line after each event.
 *
 * @throws CulvertError `response_unreadable`
 */
export async function* readEvents(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamedEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n');
    rest = blocks.pop() ?? '';
    if (rest.length > MAX_BLOCK_CHARS) throw unreadable(rest);
    for (const block of blocks) {
      const event = readBlock(block);
      if (event !== undefined) yield event;
    }
  }
}

/** Undefined for a comment, or a block that is not an event. */
function readBlock(block: string): StreamedEvent | undefined {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) fields.set(name, value);
  }
  const data = fields.get('data');
  if (data === undefined) return undefined;
  const id = fields.get('id');
  if (id === undefined) return 'lost';
  try {
    return { id, event: JSON.parse(data) as EventResource };
  } catch (cause) {
    throw unreadable(block, cause);
  }
}

function unreadable(text: string, cause?: unknown): CulvertError {
  const message = `Cannot read an event of the daemon’s: ${JSON.stringify(text.slice(0, 80))}`;
  return new CulvertError('response_unreadable', message, { cause });
}
