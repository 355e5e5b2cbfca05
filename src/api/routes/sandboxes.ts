import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import type { CreateRequest } from '../../daemon/engine.ts';
import { type EgressPolicy, policyOver } from '../../sandbox/policy/policy.ts';
import { sandboxId } from '../../schema/values.ts';
import { firecrackerOf } from '../firecracker.ts';
import {
  changeBody,
  createBody,
  firecrackerResource,
  removalList,
  removeBody,
  sandboxList,
  sandboxResource,
} from '../schema.ts';
import type { Services } from '../services.ts';
import { sandboxView } from '../view.ts';
import { failures, jsonBody, jsonReply } from './describe.ts';

const tags = ['sandboxes'];
const params = z.strictObject({ id: sandboxId });

const create = createRoute({
  method: 'post',
  path: '/v1/sandboxes',
  summary: 'Create sandboxes',
  description: 'All or none. An id that exists with the same specification is returned as it is.',
  tags,
  request: { body: jsonBody(createBody) },
  responses: { 200: jsonReply(sandboxList, 'They are ready'), ...failures(400, 409, 413, 415, 500, 503) },
});

const list = createRoute({
  method: 'get',
  path: '/v1/sandboxes',
  summary: 'List the sandboxes',
  tags,
  responses: { 200: jsonReply(sandboxList, 'All that are live'), ...failures(500, 503) },
});

const inspect = createRoute({
  method: 'get',
  path: '/v1/sandboxes/{id}',
  summary: 'Get one sandbox',
  tags,
  request: { params },
  responses: { 200: jsonReply(sandboxResource, 'The sandbox'), ...failures(400, 404, 500, 503) },
});

const firecracker = createRoute({
  method: 'get',
  path: '/v1/sandboxes/{id}/firecracker',
  summary: 'Say how to configure Firecracker for the guest of one sandbox',
  tags,
  request: { params },
  responses: {
    200: jsonReply(firecrackerResource, 'What goes into its configuration'),
    ...failures(400, 404, 409, 500, 503),
  },
});

const change = createRoute({
  method: 'patch',
  path: '/v1/sandboxes/{id}',
  summary: 'Change rates, policy or group of a sandbox while it runs',
  tags,
  request: { params, body: jsonBody(changeBody) },
  responses: {
    200: jsonReply(sandboxResource, 'The sandbox as it is now'),
    ...failures(400, 404, 409, 413, 415, 500, 503),
  },
});

const removeOne = createRoute({
  method: 'delete',
  path: '/v1/sandboxes/{id}',
  summary: 'Remove one sandbox',
  tags,
  request: { params },
  responses: {
    200: jsonReply(removalList, 'It is cut off; what it had is cleaned up after'),
    ...failures(400, 404, 409, 500, 503),
  },
});

const removeMany = createRoute({
  method: 'delete',
  path: '/v1/sandboxes',
  summary: 'Remove sandboxes',
  description: 'All or none.',
  tags,
  request: { body: jsonBody(removeBody) },
  responses: {
    200: jsonReply(removalList, 'They are cut off; what they had is cleaned up after'),
    ...failures(400, 404, 409, 413, 415, 500, 503),
  },
});

/** Past the router, of one that has a tunnel of its own. */
const NOTHING: EgressPolicy = { egress: 'none', allow: [], deny: [] };

export function sandboxRoutes({ engine, config }: Services): OpenAPIHono {
  const app = new OpenAPIHono();

  app.openapi(create, async (c) => {
    const { id, count, topology, rates, policy, group, via } = c.req.valid('json');
    const defaults = config.topology[topology];
    const basis = via !== undefined && group === undefined ? NOTHING : defaults.policy;
    const specification = {
      topology,
      rates: rates ?? defaults.rates,
      policy: policy === undefined ? basis : policyOver(basis, policy),
      ...(group === undefined ? {} : { group }),
      ...(via === undefined ? {} : { via: { tunnel: via, number: 0 } }),
    };
    const request: CreateRequest = id === undefined ? { specification } : { id, specification };
    const sandboxes = await engine.create(Array.from({ length: count }, () => request));
    return c.json({ sandboxes: sandboxes.map(sandboxView) }, 200);
  });

  app.openapi(list, async (c) => {
    const sandboxes = await engine.list();
    return c.json({ sandboxes: sandboxes.map(sandboxView) }, 200);
  });

  app.openapi(inspect, async (c) => c.json(sandboxView(await engine.inspect(c.req.valid('param').id)), 200));

  app.openapi(firecracker, async (c) => {
    const sandbox = await engine.inspect(c.req.valid('param').id);
    return c.json(firecrackerOf(sandbox, config.topology.microvm.tap.address.length), 200);
  });

  app.openapi(change, async (c) => {
    const { rates, policy, group } = c.req.valid('json');
    const sandbox = await engine.update(c.req.valid('param').id, {
      ...(rates === undefined ? {} : { rates }),
      ...(policy === undefined ? {} : { policy }),
      ...(group === undefined ? {} : { group }),
    });
    return c.json(sandboxView(sandbox), 200);
  });

  app.openapi(removeOne, async (c) => c.json({ removed: await engine.remove([c.req.valid('param').id]) }, 200));

  app.openapi(removeMany, async (c) => {
    const ids = new Set(c.req.valid('json').ids);
    return c.json({ removed: await engine.remove([...ids]) }, 200);
  });

  return app;
}
