import type { EventReader, Reading } from './log.ts';

type Options = {
  /** How often a comment shows a silent stream to be alive; a peer that takes nothing for two of these is cut. */
  readonly heartbeatMs: number;
  /** Ends the connection of a peer that does not read. */
  readonly cut: () => void;
};

/** Events as server-sent events (WHATWG HTML, section 9.2), as fast as the peer takes them. */
export function eventStream(reader: EventReader, { heartbeatMs, cut }: Options): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let beat: NodeJS.Timeout | undefined;
  let isAsked = false;
  let refusals = 0;
  const end = (): void => {
    clearInterval(beat);
    reader.close();
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        controller.enqueue(encoder.encode('retry: 1000\n\n'));
        beat = setInterval(() => {
          if (isAsked) controller.enqueue(encoder.encode(': alive\n\n'));
          else refusals += 1;
          if (refusals < 2) return;
          end();
          cut();
        }, heartbeatMs);
        beat.unref();
      },
      async pull(controller) {
        isAsked = true;
        refusals = 0;
        const reading = await reader.next();
        isAsked = false;
        if (reading !== undefined) {
          controller.enqueue(encoder.encode(eventText(reading)));
          return;
        }
        end();
        controller.close();
      },
      cancel: end,
    },
    // Nothing is taken from the log before the peer has room for it.
    { highWaterMark: 0 },
  );
}

function eventText(reading: Reading): string {
  if (reading === 'lost') return 'event: lost\ndata: {"message":"Events before the next one are lost"}\n\n';
  const { id, event } = reading;
  return `id: ${id}\nevent: ${fieldText(event.type)}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** A line end would begin another field. */
function fieldText(text: string): string {
  return text.replaceAll(/[\r\n]/g, ' ');
}
