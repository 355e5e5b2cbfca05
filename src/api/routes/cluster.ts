import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import { formatIpv4 } from '../../addr/ipv4.ts';
import { formatPrefix } from '../../addr/prefix.ts';
import type { HostView } from '../../daemon/engine.ts';
import { latestKey } from '../../mesh/published.ts';
import { epochResource, type HostResource, hostList, meshBody, meshResource } from '../schema.ts';
import type { Services } from '../services.ts';
import { failures, jsonBody, jsonReply } from './describe.ts';

const tags = ['cluster'];

const list = createRoute({
  method: 'get',
  path: '/v1/hosts',
  summary: 'List the hosts of the cluster',
  tags,
  responses: { 200: jsonReply(hostList, 'All hosts, by name'), ...failures(404, 500, 503) },
});

const remove = createRoute({
  method: 'delete',
  path: '/v1/hosts/{name}',
  summary: 'Take a host out of the cluster that is gone for good',
  description: 'Its subnet is free from then on. A host that is there leaves by itself when its daemon is purged.',
  tags,
  request: { params: z.strictObject({ name: z.string().min(1).max(63) }) },
  responses: {
    200: jsonReply(hostList, 'The hosts that are left, as this one knows them'),
    ...failures(400, 404, 409, 500, 503),
  },
});

const showMesh = createRoute({
  method: 'get',
  path: '/v1/mesh',
  summary: 'Tell how the hosts send to each other, as this one knows it',
  tags,
  responses: { 200: jsonReply(meshResource, 'The mesh'), ...failures(404, 500, 503) },
});

const change = createRoute({
  method: 'patch',
  path: '/v1/mesh',
  summary: 'Wish that the hosts send to each other otherwise',
  description:
    'It is written down as the next epoch, and every host goes there by itself, step by step and without a loss; `GET /v1/mesh` tells how far they have come.',
  tags,
  request: { body: jsonBody(meshBody) },
  responses: {
    200: jsonReply(epochResource, 'The epoch that leads there; the current one where it is as wished'),
    ...failures(400, 404, 409, 413, 415, 500, 503),
  },
});

export function clusterRoutes({ engine }: Services): OpenAPIHono {
  const app = new OpenAPIHono();

  app.openapi(list, async (c) => c.json({ hosts: (await engine.hosts()).map(hostResource) }, 200));

  app.openapi(remove, async (c) => {
    const { name } = c.req.valid('param');
    await engine.removeHost(name);
    const left = (await engine.hosts()).filter((host) => host.name !== name);
    return c.json({ hosts: left.map(hostResource) }, 200);
  });

  app.openapi(showMesh, async (c) => {
    const { epoch, progress, peers } = await engine.mesh();
    const told = progress.map((one) => ({ ...one, waitsFor: [...one.waitsFor] }));
    return c.json({ epoch, progress: told, peers: [...peers] }, 200);
  });

  app.openapi(change, async (c) => {
    const { encrypts, whenDown, rotates, mtu } = c.req.valid('json');
    const wish = {
      ...(mtu === undefined ? {} : { mtu }),
      ...(encrypts === undefined ? {} : { encrypts }),
      ...(whenDown === undefined ? {} : { whenDown }),
      ...(rotates === undefined ? {} : { rotates }),
    };
    return c.json(await engine.changeMesh(wish), 200);
  });

  return app;
}

function hostResource({ subnet, mesh, ...host }: HostView): HostResource {
  return {
    ...host,
    isDraining: mesh?.isDraining === true,
    ...(subnet && { subnet: formatPrefix(subnet) }),
    ...(mesh && {
      publicKey: latestKey(mesh)?.publicKey,
      endpoint: `${formatIpv4(mesh.address)}:${latestKey(mesh)?.port}`,
      mtu: mesh.mtu,
    }),
  };
}
