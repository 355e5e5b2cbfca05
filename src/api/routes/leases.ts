import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import { InputError } from '../../errors.ts';
import { slotInPath } from '../../schema/values.ts';
import { leaseList, leaseResource, releaseBody } from '../schema.ts';
import type { Services } from '../services.ts';
import { failures, jsonBody, jsonReply } from './describe.ts';

const tags = ['leases'];
const params = z.strictObject({ slot: slotInPath });

const list = createRoute({
  method: 'get',
  path: '/v1/leases',
  summary: 'List the leases',
  tags,
  responses: { 200: jsonReply(leaseList, 'Every slot that is not free'), ...failures(500, 503) },
});

const explain = createRoute({
  method: 'get',
  path: '/v1/leases/{slot}',
  summary: 'Say who holds a slot, since when, and why',
  tags,
  request: { params },
  responses: { 200: jsonReply(leaseResource, 'The lease'), ...failures(400, 404, 500, 503) },
});

const release = createRoute({
  method: 'post',
  path: '/v1/leases/{slot}/release',
  summary: 'Free a slot that is in quarantine before its time',
  tags,
  request: { params, body: jsonBody(releaseBody) },
  responses: {
    200: jsonReply(leaseResource, 'The lease as it is now'),
    ...failures(400, 404, 409, 413, 415, 500, 503),
  },
});

export function leaseRoutes({ engine }: Services): OpenAPIHono {
  const app = new OpenAPIHono();

  app.openapi(list, async (c) => c.json({ leases: await engine.leases() }, 200));

  app.openapi(explain, async (c) => {
    const { slot } = c.req.valid('param');
    const lease = (await engine.leases()).find((it) => it.slot === slot);
    if (lease !== undefined) return c.json(lease, 200);
    throw new InputError('lease_unknown', `Cannot find a lease of slot ${slot}: the slot is free`, { field: 'slot' });
  });

  app.openapi(release, async (c) => {
    const { force } = c.req.valid('json');
    return c.json(await engine.release(c.req.valid('param').slot, { force }), 200);
  });

  return app;
}
