import type { HttpBindings } from '@hono/node-server';
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import { eventStream } from '../events/stream.ts';
import { eventResource } from '../schema.ts';
import type { Services } from '../services.ts';
import { failures } from './describe.ts';

const stream = createRoute({
  method: 'get',
  path: '/v1/events',
  summary: 'Stream everything that happens, as server-sent events',
  description:
    'Each event has its type as `event`, an id to go on from as `id`, and itself in JSON as `data`. An event `lost` says that some before the next one are no longer kept.',
  tags: ['events'],
  request: {
    headers: z.object({
      'last-event-id': z.string().max(64).optional().meta({ description: 'Begin with what came after this event' }),
    }),
  },
  responses: {
    200: { description: 'The stream', content: { 'text/event-stream': { schema: eventResource } } },
    ...failures(400, 503),
  },
});

export function eventRoutes({ events, heartbeatMs }: Services): OpenAPIHono<{ Bindings: HttpBindings }> {
  const app = new OpenAPIHono<{ Bindings: HttpBindings }>();

  app.openapi(stream, (c) => {
    const reader = events.read(c.req.valid('header')['last-event-id']);
    const body = eventStream(reader, { heartbeatMs, cut: () => c.env.outgoing.destroy() });
    return c.body(body, 200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  });

  return app;
}
