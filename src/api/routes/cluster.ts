import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import { formatIpv4 } from '../../addr/ipv4.ts';
import { formatPrefix } from '../../addr/prefix.ts';
import type { HostView } from '../../daemon/engine.ts';
import { latestKey } from '../../mesh/published.ts';
import { type HostResource, hostList } from '../schema.ts';
import type { Services } from '../services.ts';
import { failures, jsonReply } from './describe.ts';

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

export function clusterRoutes({ engine }: Services): OpenAPIHono {
  const app = new OpenAPIHono();

  app.openapi(list, async (c) => c.json({ hosts: (await engine.hosts()).map(hostResource) }, 200));

  app.openapi(remove, async (c) => {
    const { name } = c.req.valid('param');
    await engine.removeHost(name);
    const left = (await engine.hosts()).filter((host) => host.name !== name);
    return c.json({ hosts: left.map(hostResource) }, 200);
  });

  return app;
}

function hostResource({ subnet, mesh, ...host }: HostView): HostResource {
  return {
    ...host,
    subnet: formatPrefix(subnet),
    ...(mesh && {
      publicKey: latestKey(mesh)?.publicKey,
      endpoint: `${formatIpv4(mesh.address)}:${latestKey(mesh)?.port}`,
      mtu: mesh.mtu,
    }),
  };
}
