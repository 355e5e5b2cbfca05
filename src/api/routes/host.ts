import type { HttpBindings } from '@hono/node-server';
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import {
  drainBody,
  reconcileBody,
  reconcileResult,
  type StatusResource,
  shutdownBody,
  shutdownResult,
  statusResource,
} from '../schema.ts';
import type { Services } from '../services.ts';
import { failures, jsonBody, jsonReply } from './describe.ts';

const tags = ['host'];

const status = createRoute({
  method: 'get',
  path: '/v1/status',
  summary: 'Say how the daemon and the host’s networks are',
  tags,
  responses: { 200: jsonReply(statusResource, 'The state'), ...failures(500, 503) },
});

const reconcile = createRoute({
  method: 'post',
  path: '/v1/reconcile',
  summary: 'Compare what should be with what is, and repair it',
  tags,
  request: { body: jsonBody(reconcileBody) },
  responses: { 200: jsonReply(reconcileResult, 'What differed'), ...failures(400, 413, 415, 500, 503) },
});

const drain = createRoute({
  method: 'post',
  path: '/v1/drain',
  summary: 'Have the host take no new sandboxes',
  description:
    'What runs goes on, and can be changed and removed; to create is refused with `draining`. It holds until it is ended, over restarts of the daemon too, and other hosts of the cluster see it.',
  tags,
  request: { body: jsonBody(drainBody) },
  responses: { 200: jsonReply(statusResource, 'The state'), ...failures(400, 413, 415, 500, 503) },
});

const undrain = createRoute({
  method: 'delete',
  path: '/v1/drain',
  summary: 'Have the host take new sandboxes again',
  tags,
  responses: { 200: jsonReply(statusResource, 'The state'), ...failures(500, 503) },
});

const shutdown = createRoute({
  method: 'post',
  path: '/v1/shutdown',
  summary: 'Stop the daemon and leave the sandboxes running, or remove everything first',
  tags,
  request: { body: jsonBody(shutdownBody) },
  responses: { 200: jsonReply(shutdownResult, 'The daemon stops'), ...failures(400, 413, 415, 500, 503) },
});

const health = createRoute({
  method: 'get',
  path: '/healthz',
  summary: 'Say that the daemon answers',
  tags,
  responses: { 200: jsonReply(z.object({ status: z.literal('ok') }), 'It does') },
});

const metrics = createRoute({
  method: 'get',
  path: '/metrics',
  summary: 'Metrics for Prometheus',
  tags,
  responses: {
    200: { description: 'Text format, version 0.0.4', content: { 'text/plain': { schema: z.string() } } },
    ...failures(500, 503),
  },
});

export function hostRoutes(services: Services): OpenAPIHono<{ Bindings: HttpBindings }> {
  const { engine, events, stop } = services;
  const app = new OpenAPIHono<{ Bindings: HttpBindings }>();

  const stateNow = async (): Promise<StatusResource> => {
    const state = await engine.status();
    return { ...state, problems: [...state.problems] };
  };

  app.openapi(status, async (c) => c.json(await stateNow(), 200));

  app.openapi(drain, async (c) => {
    await engine.setDraining(true);
    return c.json(await stateNow(), 200);
  });

  app.openapi(undrain, async (c) => {
    await engine.setDraining(false);
    return c.json(await stateNow(), 200);
  });

  app.openapi(reconcile, async (c) => c.json(await engine.reconcile(c.req.valid('json')), 200));

  app.openapi(shutdown, async (c) => {
    const { purge } = c.req.valid('json');
    if (purge) await engine.purge();
    // The answer goes out first; a peer that went away before it did meant what it asked all the same.
    c.env.outgoing.once('close', stop);
    if (c.env.outgoing.destroyed) stop();
    return c.json({ pid: process.pid, purged: purge }, 200);
  });

  app.openapi(health, (c) => c.json({ status: 'ok' as const }, 200));

  app.openapi(metrics, async (c) => {
    const state = await engine.status();
    const text = services.metrics.text(state, events.readerCount, await services.connections());
    return c.text(text, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  });

  return app;
}
